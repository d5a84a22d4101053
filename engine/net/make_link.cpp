// SPDX-License-Identifier: Apache-2.0
#include "engine/net/dialer.hpp"
#include "engine/net/nats_link.hpp"
#include "engine/net/plain_link.hpp"
#include "engine/net/server_url.hpp"
#include "engine/net/threaded_link.hpp"

namespace callgate::net {

result<std::unique_ptr<nats_link>> make_link(boost::asio::io_context& shard, link_options options, std::uint32_t index,
                                             link_handler& handler) {
    const auto refuse = [&](std::string why) { return make_error(errc::invalid, std::move(why), "link " + options.name); };
    if (options.urls.empty()) return refuse("no server URL");
    for (const auto& text : options.urls) {
        auto url = parse_server_url(text);
        if (!url) return refuse(url.error().text);
        // A creds login that also carries a user name is itself sent to the callout (protocol.md 3.3.5).
        if (url->has_user_info && !std::holds_alternative<no_credentials>(options.login))
            return refuse("server URL " + url->printable() + " carries a user name and a credentials file is given as well; keep one");
    }
    for (const auto& s : options.subscriptions)
        if (s.subject.empty()) return refuse("empty subject in a subscription");
    if (options.tls && options.tls->cert_file.empty() != options.tls->key_file.empty())
        return refuse("tls needs cert_file and key_file together");
    if (options.connect_timeout_ns < 1'000'000) return refuse("connect timeout is under 1 ms");
    if (options.own_thread || wants_tls(options)) return std::unique_ptr<nats_link>(new threaded_link(shard, std::move(options), index, handler));
    return std::unique_ptr<nats_link>(new plain_link(shard, std::move(options), index, handler));
}

}  // namespace callgate::net
