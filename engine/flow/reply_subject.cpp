// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/reply_subject.hpp"

#include <algorithm>

namespace callgate::flow {
namespace {

constexpr std::string_view prefix = "$SYS._INBOX.";

bool is_id(std::string_view s) noexcept {
    return !s.empty() && s.size() <= 64 && std::all_of(s.begin(), s.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    });
}

}  // namespace

bool is_reply_subject(std::string_view subject) noexcept {
    if (!subject.starts_with(prefix)) return false;
    subject.remove_prefix(prefix.size());
    const auto dot = subject.find('.');
    return dot != subject.npos && is_id(subject.substr(0, dot)) && is_id(subject.substr(dot + 1));
}

std::string_view server_hash(std::string_view reply_subject) noexcept {
    reply_subject.remove_prefix(std::min(prefix.size(), reply_subject.size()));
    return reply_subject.substr(0, reply_subject.find('.'));
}

}  // namespace callgate::flow
