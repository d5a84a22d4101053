// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/scope_template.hpp>

#include <cstdlib>

using namespace callgate::nats;

namespace {
std::string line(std::string_view& rest) {
    const auto end = rest.find('\n');
    std::string out(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    return out;
}
}  // namespace

// Lines: name, two tags, then subjects, by turns for the allow and the deny list.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    template_context c;
    c.name = line(rest);
    c.account_name = "acme";
    c.subject = "UABC";
    c.account_subject = "AABC";
    c.user_tags = {line(rest), line(rest)};
    c.account_tags = c.user_tags;
    permissions p;
    for (bool allow = true; !rest.empty() && p.pub.allow.size() < 8; allow = !allow) (allow ? p.pub.allow : p.pub.deny).push_back(line(rest));
    for (auto dialect : {template_dialect::v2_10, template_dialect::v2_11}) {
        const auto r = expand(p, c, dialect);
        if (!r) continue;
        if (r->pub.allow.size() > 4096 || r->pub.deny.size() > 4097) std::abort();
        // An allow list must never silently become "everything".
        if (!p.pub.allow.empty() && r->pub.allow.empty() && r->pub.deny.empty()) std::abort();
    }
    return 0;
}
