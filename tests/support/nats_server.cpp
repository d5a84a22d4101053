// SPDX-License-Identifier: Apache-2.0
#include "tests/support/nats_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/support/process_watch.hpp"

namespace callgate::test {
namespace {

namespace fs = std::filesystem;

std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

}  // namespace

std::string_view to_string(server_version v) { return v == server_version::v2_10 ? "2.10.27" : "2.15.1"; }

std::string server_binary(server_version v) {
    const char* variable = v == server_version::v2_10 ? "NATS_SERVER_2_10" : "NATS_SERVER_2_15";
    std::string path;
    if (const char* from_env = std::getenv(variable); from_env && *from_env) path = from_env;
#ifdef CALLGATE_SOURCE_DIR
    else path = std::string(CALLGATE_SOURCE_DIR) + "/build/deps/bin/nats-server-" + std::string(to_string(v));
#endif
    if (path.empty() || ::access(path.c_str(), X_OK) != 0)
        throw std::runtime_error("no nats-server " + std::string(to_string(v)) + " at '" + path + "': run tools/setup or set " + variable);
    return path;
}

std::uint16_t free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    const bool ok = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 &&
                    ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) == 0;
    if (fd >= 0) ::close(fd);
    if (!ok) throw std::runtime_error("no free port on 127.0.0.1");
    return ntohs(a.sin_port);
}

temp_dir::temp_dir() {
    std::string pattern = (fs::temp_directory_path() / "callgate-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make a directory like " + pattern);
    path_ = pattern;
}
temp_dir::~temp_dir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}
std::string temp_dir::write(std::string_view name, std::string_view text, mode_t mode) const {
    const auto path = file(name);
    const auto fresh = path + ".new";
    const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool ok = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fchmod(fd, mode) == 0;
    if (fd >= 0) ::close(fd);
    if (!ok || ::rename(fresh.c_str(), path.c_str()) != 0) throw std::runtime_error("cannot write " + path);
    return path;
}

nats_server::nats_server(server_version version, std::string config, const std::map<std::string, std::string>& files)
    : version_(version), config_(std::move(config)) {
    for (const auto& [name, text] : files) dir_.write(name, text);
    start();
}

nats_server::~nats_server() { kill9(); }

std::string nats_server::url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
std::string nats_server::url_of(std::string_view kind) const {
    const auto at = urls_.find(std::string(kind));
    return at == urls_.end() ? std::string() : at->second;
}
std::string nats_server::log() const { return slurp(dir_.file("server.log")); }

void nats_server::write_config() {
    std::string text = "listen: \"127.0.0.1:" + (port_ ? std::to_string(port_) : std::string("-1")) + "\"\nports_file_dir: \"" +
                       dir_.path() + "\"\nlog_file: \"" + dir_.file("server.log") + "\"\n" + config_ + "\n";
    for (std::size_t at = 0; (at = text.find("{dir}", at)) != std::string::npos;) text.replace(at, 5, dir_.path());
    dir_.write("server.conf", text);
}

void nats_server::start() {
    if (pid_ > 0) return;
    const auto binary = server_binary(version_);
    const auto config = dir_.file("server.conf");
    const auto output = dir_.file("output.txt");
    write_config();
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
        // Only what is safe after fork() in a process with threads.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(127);
        const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        ::dup2(out, 1);
        ::dup2(out, 2);
        ::execl(binary.c_str(), binary.c_str(), "-c", config.c_str(), static_cast<char*>(nullptr));
        ::_exit(127);
    }
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    const auto ports = dir_.file(fs::path(binary).filename().string() + "_" + std::to_string(pid_) + ".ports");
    process_watch watch(pid_, dir_.path());
    // The server renames nothing: a short read of a file it still writes does not parse and is read again.
    const auto seen = watch.until([&] {
        boost::json::error_code ec;
        const auto value = boost::json::parse(slurp(ports), ec);
        if (ec || !value.is_object()) return false;
        urls_.clear();
        for (const auto& [kind, list] : value.get_object())
            if (list.is_array() && !list.get_array().empty()) urls_[std::string(kind)] = list.get_array().front().as_string().c_str();
        return urls_.contains("nats");
    }, std::chrono::seconds(20));
    if (seen != process_watch::outcome::ready) {
        const auto why = slurp(output) + log();
        kill9();
        throw std::runtime_error("nats-server " + std::string(to_string(version_)) + " did not start:\n" + why);
    }
    read_ports();
}

void nats_server::read_ports() {
    const auto& url = urls_["nats"];
    port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
}

void nats_server::reap() {
    if (pid_ <= 0) return;
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
}
void nats_server::kill9() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    reap();
}
void nats_server::terminate() {
    if (pid_ > 0) ::kill(pid_, SIGTERM);
    reap();
}
void nats_server::freeze() { ::kill(pid_, SIGSTOP); }
void nats_server::thaw() { ::kill(pid_, SIGCONT); }

void nats_server::reload(std::string config) {
    config_ = std::move(config);
    write_config();
    const auto before = log().size();
    process_watch watch(pid_, dir_.path());
    ::kill(pid_, SIGHUP);
    const auto seen = watch.until([&] {
        const auto news = log().substr(before);
        if (news.find("Failed to reload") != std::string::npos) throw std::runtime_error("nats-server refused the reload:\n" + news);
        return news.find("Reloaded server configuration") != std::string::npos;
    }, std::chrono::seconds(10));
    if (seen != process_watch::outcome::ready) throw std::runtime_error("nats-server did not reload:\n" + log());
}

}  // namespace callgate::test
