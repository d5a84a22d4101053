// SPDX-License-Identifier: Apache-2.0
#include "engine/net/server_greeting.hpp"

#include <boost/json.hpp>

namespace callgate::net {
namespace {

std::string text_of(const boost::json::object& o, std::string_view key) {
    const auto* v = o.if_contains(key);
    const auto* s = v ? v->if_string() : nullptr;
    return s && s->size() <= 256 ? std::string(s->data(), s->size()) : std::string();
}
bool flag_of(const boost::json::object& o, std::string_view key) {
    const auto* v = o.if_contains(key);
    const auto* b = v ? v->if_bool() : nullptr;
    return b && *b;
}

}  // namespace

result<server_greeting> parse_greeting(std::string_view line) {
    const auto refuse = [](const char* why) {
        return make_error(errc::invalid, std::string("server's first line ") + why + "; is this the client port of a nats-server?");
    };
    if (line.size() > max_greeting) return refuse("is longer than 32768 bytes");
    if (line.substr(0, 5) != "INFO ") return refuse("does not begin with INFO");
    line.remove_prefix(5);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    boost::json::error_code ec;
    boost::json::parse_options limits;
    limits.max_depth = 16;
    const auto value = boost::json::parse(boost::json::string_view(line.data(), line.size()), ec, {}, limits);
    const auto* object = ec ? nullptr : value.if_object();
    if (!object) return refuse("holds no JSON object");
    server_greeting g;
    g.server_id = text_of(*object, "server_id");
    g.server_name = text_of(*object, "server_name");
    g.version = text_of(*object, "version");
    g.tls_required = flag_of(*object, "tls_required");
    g.headers = flag_of(*object, "headers");
    if (const auto* v = object->if_contains("max_payload"); v && v->is_int64()) g.max_payload = v->get_int64();
    if (g.server_id.empty()) return refuse("has no server_id");
    return g;
}

}  // namespace callgate::net
