// SPDX-License-Identifier: Apache-2.0
// A whole shard under arbitrary payloads. The first byte says how the rest arrives: as it is, inside a box that
// opens, as claims signed by a server (with @SERVER@, @USER@, @ISSUER@ and @XKEY@ replaced), or as signed claims
// inside such a box. With its bit 2 set the first line of the rest is the reply subject. Invariant: each request ends
// exactly once, with at most one reply, and that goes to $SYS._INBOX.<id>.<id>.
#include <callgate/crypto/base64url.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/base/log.hpp"
#include "engine/flow/flow_test_world.hpp"

namespace {

using namespace callgate;
namespace b64 = crypto::base64url;

void replace_all(std::string& s, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = s.find(from, at)) != s.npos; at += to.size()) s.replace(at, from.size(), to);
}

struct fuzz_world : flow::testing::world {
    flow::key_binding own = add_xkey();
    fuzz_world() {
        reconfigure([](flow::flow_config& c) { c.allow_plaintext = true; });
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static auto w = [] {
        log::set_level(log::level::error);
        return std::make_unique<fuzz_world>();
    }();
    if (size == 0) return 0;
    std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
    const unsigned mode = data[0] % 4;
    std::string reply = w->server.reply_subject();
    if ((data[0] & 4) != 0) {
        const auto line = text.find('\n');
        reply = text.substr(0, line);
        text.erase(0, line == text.npos ? line : line + 1);
    }
    if (mode >= 2) {
        replace_all(text, "@SERVER@", w->server.id.public_text());
        replace_all(text, "@USER@", nats::key_pair::generate(nats::key_type::user).public_text());
        replace_all(text, "@ISSUER@", w->config->request_subject_key);
        replace_all(text, "@XKEY@", mode == 3 ? w->server.xkey.public_text() : "");
        const auto input = std::string(nats::jwt_header_b64) + "." + b64::encode(text);
        text = input + "." + b64::encode(std::span<const std::uint8_t>(w->server.id.sign(input).value()));
    }
    const auto replies = w->links.replies.size();
    const auto drops = w->metrics.dropped_total.value();
    const bool sealed = mode % 2 == 1;
    w->shard->offer(flow::testing::make_message(sealed ? w->server.seal(text, w->own.nkey) : text, reply, w->clock.mono,
                                                sealed ? w->server.xkey.public_text() : ""));
    w->run();
    if (w->shard->pending() != 0) std::abort();
    if (w->links.replies.size() - replies + (w->metrics.dropped_total.value() - drops) != 1) std::abort();
    for (const auto& sent : w->links.replies)
        if (!sent.subject.starts_with("$SYS._INBOX.") || std::count(sent.subject.begin(), sent.subject.end(), '.') != 3 ||
            sent.subject.find_first_of("*> \r\n") != sent.subject.npos)
            std::abort();
    w->links.replies.clear();
    w->audit.records.clear();
    return 0;
}
