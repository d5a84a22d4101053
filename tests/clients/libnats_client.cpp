// SPDX-License-Identifier: Apache-2.0
// A client over libnats for the demo and the integration tests: logs in as told, then obeys one command a
// line (pub SUBJECT TEXT, sub SUBJECT, flush, quit) and says what happens, one event a line.
#include <nats/nats.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>

namespace {

std::mutex output_mutex;
void say(const std::string& line) {
    const std::lock_guard lock(output_mutex);
    std::fprintf(stdout, "%s\n", line.c_str());
    std::fflush(stdout);
}

void on_message(natsConnection*, natsSubscription*, natsMsg* m, void*) {
    say(std::string("msg ") + natsMsg_GetSubject(m) + " " + std::string(natsMsg_GetData(m), static_cast<std::size_t>(natsMsg_GetDataLength(m))));
    natsMsg_Destroy(m);
}
void on_error(natsConnection* nc, natsSubscription*, natsStatus s, void*) {
    const char* text = nullptr;
    natsConnection_GetLastError(nc, &text);
    say(std::string("async_error ") + natsStatus_GetText(s) + " " + (text != nullptr ? text : ""));
}
void on_closed(natsConnection*, void*) { say("closed"); }
void on_disconnected(natsConnection*, void*) { say("disconnected"); }
void on_reconnected(natsConnection*, void*) { say("reconnected"); }

// Asked by libnats before every CONNECT, so a token that was renewed in its file is the one sent.
std::string token_file, token_text;
const char* read_token(void*) {
    std::ifstream in(token_file);
    token_text.clear();
    std::getline(in, token_text);
    return token_text.c_str();
}

}  // namespace

int main(int argc, char** argv) {
    std::string url, user, pass, token, creds, name = "libnats";
    bool reconnect = false;
    for (int i = 1; i < argc; ++i) {
        const std::string a = argv[i];
        auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
        if (a == "--url") url = value();
        else if (a == "--user") user = value();
        else if (a == "--pass") pass = value();
        else if (a == "--token") token = value();
        else if (a == "--token-file") token_file = value();
        else if (a == "--creds") creds = value();
        else if (a == "--name") name = value();
        else if (a == "--reconnect") reconnect = true;
        else {
            std::cerr << "libnats_client: unknown argument " << a << "; known: --url --user --pass --token --token-file --creds --name --reconnect\n";
            return 2;
        }
    }
    natsOptions* o = nullptr;
    natsConnection* nc = nullptr;
    natsStatus s = natsOptions_Create(&o);
    if (s == NATS_OK) s = natsOptions_SetURL(o, url.c_str());
    if (s == NATS_OK && !user.empty()) s = natsOptions_SetUserInfo(o, user.c_str(), pass.c_str());
    if (s == NATS_OK && !token.empty()) s = natsOptions_SetToken(o, token.c_str());
    if (s == NATS_OK && !token_file.empty()) s = natsOptions_SetTokenHandler(o, read_token, nullptr);
    if (s == NATS_OK && reconnect) s = natsOptions_SetReconnectWait(o, 100);
    if (s == NATS_OK && !creds.empty()) s = natsOptions_SetUserCredentialsFromFiles(o, creds.c_str(), nullptr);
    if (s == NATS_OK) s = natsOptions_SetName(o, name.c_str());
    if (s == NATS_OK) s = natsOptions_SetAllowReconnect(o, reconnect);
    if (s == NATS_OK) s = natsOptions_SetErrorHandler(o, on_error, nullptr);
    if (s == NATS_OK) s = natsOptions_SetClosedCB(o, on_closed, nullptr);
    if (s == NATS_OK) s = natsOptions_SetDisconnectedCB(o, on_disconnected, nullptr);
    if (s == NATS_OK) s = natsOptions_SetReconnectedCB(o, on_reconnected, nullptr);
    if (s == NATS_OK) s = natsConnection_Connect(&nc, o);
    if (s != NATS_OK) {
        say(std::string("refused ") + natsStatus_GetText(s) + ": " + (nats_GetLastError(nullptr) != nullptr ? nats_GetLastError(nullptr) : ""));
        natsOptions_Destroy(o);
        nats_Close();
        return 1;
    }
    say("connected");
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        std::string verb, subject;
        in >> verb >> subject;
        std::string rest;
        std::getline(in >> std::ws, rest);
        if (verb == "quit") break;
        if (verb == "pub") s = natsConnection_Publish(nc, subject.c_str(), rest.data(), static_cast<int>(rest.size()));
        else if (verb == "sub") {
            natsSubscription* sub = nullptr;
            s = natsConnection_Subscribe(&sub, nc, subject.c_str(), on_message, nullptr);
        } else if (verb == "flush") s = natsConnection_Flush(nc);
        else {
            std::cerr << "libnats_client: unknown command \"" << verb << "\"\n";
            continue;
        }
        say("done " + verb + " " + subject + " " + natsStatus_GetText(s));
    }
    natsConnection_Destroy(nc);
    natsOptions_Destroy(o);
    nats_Close();
    return 0;
}
