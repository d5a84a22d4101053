// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/subject.hpp>

#include <algorithm>
#include <charconv>
#include <optional>

#include "claim_issues.hpp"
#include "claims_io.hpp"

/// Rules of exports and imports (protocol.md 2.8).
namespace callgate::nats {
namespace {

std::vector<std::string_view> tokens_of(std::string_view subject) {
    std::vector<std::string_view> out;
    while (true) {
        const auto dot = subject.find('.');
        out.push_back(subject.substr(0, dot));
        if (dot == std::string_view::npos) return out;
        subject.remove_prefix(dot + 1);
    }
}

// The number of a "$<n>" token.
std::optional<std::size_t> reference(std::string_view token) {
    std::size_t n = 0;
    if (token.size() < 2 || token[0] != '$') return std::nullopt;
    const auto [end, e] = std::from_chars(token.data() + 1, token.data() + token.size(), n);
    if (e != std::errc{} || end != token.data() + token.size()) return std::nullopt;
    return n;
}

std::string with_references_as_wildcards(std::string_view subject) {
    std::string out;
    for (auto token : tokens_of(subject)) {
        if (!out.empty()) out += '.';
        out += reference(token) ? std::string_view{"*"} : token;
    }
    return out;
}

// Each entry is compared with each other: a token of full size would keep a core busy for a minute.
constexpr std::size_t max_compared = 2048;

bool has_wildcards(std::string_view subject) { return is_valid_subject(subject) && !is_literal_subject(subject); }

void check_token_position(issue_list& out, const export_claim& e) {
    if (e.account_token_position <= 0) return;
    const auto tokens = tokens_of(e.subject);
    const auto position = static_cast<std::size_t>(e.account_token_position);
    if (!has_wildcards(e.subject)) out.error("account_token_position needs a subject with wildcards, not " + quoted_text(e.subject));
    else if (position > tokens.size()) out.error("account_token_position " + std::to_string(position) + " is past the end of " + quoted_text(e.subject));
    else if (tokens[position - 1] != "*") out.error("account_token_position " + std::to_string(position) + " must point at a * in " + quoted_text(e.subject));
}

void check_export(issue_list& out, const export_claim& e) {
    const bool service = e.type == "service", stream = e.type == "stream";
    const auto name = "export " + quoted_text(e.subject);
    if (!service && !stream) out.error(name + ": invalid export type " + quoted_text(e.type));
    if (service && !e.response_type.empty() && e.response_type != "Singleton" && e.response_type != "Stream" && e.response_type != "Chunked")
        out.error(name + ": invalid response type for a service: " + quoted_text(e.response_type));
    if (stream && !e.response_type.empty()) out.error(name + ": a stream has no response type");
    if (stream && e.allow_trace) out.error(name + ": allow_trace is only for service exports");
    if (e.latency) {
        if (!service) out.error(name + ": service_latency is only for services");
        if (e.latency->sampling != 0 && (e.latency->sampling < 1 || e.latency->sampling > 100)) out.error(name + ": latency sampling must be 1 to 100");
        check_subject(out, e.latency->results, name + " latency results");
        if (has_wildcards(e.latency->results)) out.error(name + ": latency results subject may not have wildcards");
    }
    if (e.response_threshold_ns < 0) out.error(name + ": response_threshold is negative");
    if (e.response_threshold_ns > 0 && !service) out.error(name + ": response_threshold is only for services");
    check_subject(out, e.subject, "export");
    check_token_position(out, e);
    check_description(out, e.description, e.info_url);
}

void check_local_subject(issue_list& out, const import_claim& i) {
    const auto name = "import " + quoted_text(i.subject);
    check_subject(out, i.local_subject, name + " local_subject");
    const auto is_open = [](std::string_view s) { return s == ">" || s.ends_with(".>"); };
    if (is_open(i.local_subject) != is_open(i.subject)) out.error(name + ": subject and local_subject must both end in > or neither");
    const auto wildcards = static_cast<std::size_t>(std::ranges::count(tokens_of(i.subject), std::string_view{"*"}));
    std::size_t used = 0;
    for (auto token : tokens_of(i.local_subject)) {
        const auto n = reference(token);
        if (token == "*") ++used;
        else if (n && (*n == 0 || *n > wildcards)) out.error(name + ": local_subject refers to wildcard " + std::string(token) + " that does not exist");
        else if (n) ++used;
    }
    if (used != wildcards) out.error(name + ": local_subject must use each * of the subject, as * or as $<number>");
    if (!i.to.empty()) out.error(name + ": local_subject replaces to, both are set");
}

void check_activation_token(issue_list& out, const import_claim& i, const std::string& account) {
    const auto name = "import " + quoted_text(i.subject);
    auto token = decode_as<activation_claims>(i.token);
    if (!token) return out.error(name + " has an invalid activation token: " + token.error().text);
    if (token->iss != i.account && token->issuer_account != i.account) out.error(name + ": activation token is not of account " + quoted_text(i.account));
    if (token->sub != account) out.error(name + ": activation token is for another account");
    if (token->kind != i.type) out.error(name + ": activation token is for a " + token->kind + ", the import is a " + i.type);
    check_activation(out, *token);
    const auto& subject = i.type == "service" && !i.to.empty() ? i.to : i.subject;
    if (!is_subset(subject, token->subject)) out.error(name + ": activation token is for subject " + quoted_text(token->subject));
}

void check_import(issue_list& out, const import_claim& i, const std::string& account) {
    const bool service = i.type == "service", stream = i.type == "stream";
    const auto name = "import " + quoted_text(i.subject);
    if (!service && !stream) out.error(name + ": invalid import type " + quoted_text(i.type));
    if (service && i.allow_trace) out.error(name + ": allow_trace is only for stream imports");
    if (i.account.empty()) out.error(name + ": account to import from is not specified");
    if (!i.to.empty()) out.warning(name + ": to is deprecated, use local_subject");
    check_subject(out, i.subject, "import");
    if (!i.local_subject.empty()) check_local_subject(out, i);
    if (i.share && !service) out.error(name + ": share is only for services");
    if (!i.token.empty()) check_activation_token(out, i, account);
}

}  // namespace

void check_exports(issue_list& out, const std::vector<export_claim>& exports) {
    for (const auto& e : exports) check_export(out, e);
    if (exports.size() > max_compared) return out.error("more than " + std::to_string(max_compared) + " exports: too many to compare with each other");
    for (std::size_t i = 0; i < exports.size(); ++i)
        for (std::size_t j = 0; j < exports.size(); ++j) {
            const auto &inner = exports[i], &outer = exports[j];
            if (i == j || (inner.type == "service") != (outer.type == "service") || !is_subset(inner.subject, outer.subject)) continue;
            // Two equal subjects contain each other: one issue.
            if (inner.subject == outer.subject && i > j) continue;
            out.error(inner.type + " export subject " + quoted_text(outer.subject) + " already exports " + quoted_text(inner.subject));
        }
}

void check_imports(issue_list& out, const std::vector<import_claim>& imports, const std::string& account) {
    struct place {
        std::string subject, account;
    };
    if (imports.size() > max_compared) return out.error("more than " + std::to_string(max_compared) + " imports: too many to compare with each other");
    std::vector<place> taken;
    for (const auto& i : imports) {
        if (i.type == "service") {
            const auto local = !i.to.empty() ? i.to : !i.local_subject.empty() ? with_references_as_wildcards(i.local_subject) : i.subject;
            for (const auto& t : taken)
                if (t.account == i.account && (is_subset(local, t.subject) || is_subset(t.subject, local)))
                    out.error("service imports from " + quoted_text(i.account) + " overlap: " + quoted_text(local) + " and " + quoted_text(t.subject));
            taken.push_back({local, i.account});
        }
        check_import(out, i, account);
    }
}

}  // namespace callgate::nats
