// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/scope_template.hpp>

#include <algorithm>
#include <optional>

#include "claims_io.hpp"

namespace callgate::nats {
namespace {

constexpr std::size_t max_expansions = 4096;
// Of all subjects of one list: names and tags come from tokens, and one inside the other they multiply.
constexpr std::size_t max_expanded_bytes = 4u << 20;
// Characters looked at for one list, a tag counting as eight: some tenths of a second.
constexpr std::size_t max_work = 64u << 20;

using texts = std::vector<std::string>;

// The server's rule, not ours: it lets control characters pass, and what it lets pass takes effect.
bool server_accepts(std::string_view subject) {
    if (subject.empty() || subject.find_first_of("\t\n\f\r ") != std::string_view::npos) return false;
    while (true) {
        const auto dot = subject.find('.');
        const auto token = subject.substr(0, dot);
        if (token.empty() || (token == ">" && dot != std::string_view::npos)) return false;
        if (dot == std::string_view::npos) return true;
        subject.remove_prefix(dot + 1);
    }
}

std::string lower(std::string_view s) {
    std::string out(s);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::string_view trimmed(std::string_view s) {
    constexpr std::string_view blanks = " \t\r\n\v\f";
    const auto first = s.find_first_not_of(blanks);
    return first == std::string_view::npos ? std::string_view{} : s.substr(first, s.find_last_not_of(blanks) - first + 1);
}

texts values_of_tag(const texts& tags, std::string_view name) {
    const auto prefix = lower(name) + ':';
    texts out;
    for (const auto& tag : tags)
        if (tag.starts_with(prefix)) out.push_back(tag.substr(prefix.size()));
    return out;
}

// What a function in braces stands for. Only tags may have none or several values.
struct meaning {
    texts values;
    bool is_tag = false;
    std::string_view tag_name;
};
// `op` as it is written; `folded` in lower case. nullopt: no such function.
std::optional<meaning> look_up(std::string_view op, std::string_view folded, const template_context& c) {
    if (folded == "name()") return meaning{{c.name}, false, {}};
    if (folded == "subject()") return meaning{{c.subject}, false, {}};
    if (folded == "account-name()") return meaning{{c.account_name}, false, {}};
    if (folded == "account-subject()") return meaning{{c.account_subject}, false, {}};
    for (const bool of_account : {false, true}) {
        const std::string_view head = of_account ? "account-tag(" : "tag(";
        if (!folded.starts_with(head) || !folded.ends_with(')') || folded.size() <= head.size()) continue;
        // The head is recognised in any case but cut off only in lower case: TAG(x) names a tag "tag(x" (2.13).
        auto name = op;
        if (name.starts_with(head)) name.remove_prefix(head.size());
        name.remove_suffix(1);
        return meaning{values_of_tag(of_account ? c.account_tags : c.user_tags, name), true, name};
    }
    return std::nullopt;
}

error refused(std::string why) { return {errc::bad_claims, "permission template: " + std::move(why)}; }

// One list of one dialect. `deny` lists fail where allow lists drop.
class expander {
  public:
    expander(const template_context& context, bool deny) : context_(context), deny_(deny) {}

    result<void> add(const std::string& subject) {
        bytes_ += subject.size();
        if (bytes_ > max_expanded_bytes) return too_long();
        if (server_accepts(subject)) out_.push_back(subject);
        else if (deny_) return refused("deny list generated invalid subject " + quoted_text(subject));
        return {};
    }
    /// `count` choices times `by`; fails when these and those made so far are too many.
    result<void> multiply(std::size_t& count, std::size_t by) const {
        if (count > max_expansions / std::max<std::size_t>(1, by)) return too_many();
        count *= by;
        return out_.size() + count > max_expansions ? result<void>(too_many()) : result<void>();
    }
    result<void> spend(std::size_t work) {
        work_ += work;
        return work_ > max_work ? result<void>(refused("templates and tags of one list are too many")) : result<void>();
    }
    result<std::optional<meaning>> find(std::string_view op, std::string_view folded) {
        if (auto r = spend(op.size() + 8 * (context_.user_tags.size() + context_.account_tags.size())); !r) return r.error();
        auto m = look_up(op, folded, context_);
        if (m && m->values.size() > max_expansions) return too_many();
        return m;
    }
    /// Calls f with each choice of one value from each list, the last list running fastest.
    template <class F>
    static result<void> for_each_choice(const std::vector<texts>& values, F f) {
        if (std::ranges::any_of(values, &texts::empty)) return {};
        std::vector<std::size_t> at(values.size());
        while (true) {
            if (auto r = f(at); !r) return r;
            std::size_t i = values.size();
            while (i > 0 && ++at[i - 1] == values[i - 1].size()) at[--i] = 0;
            if (i == 0) return {};
        }
    }
    [[nodiscard]] bool deny() const { return deny_; }
    [[nodiscard]] texts take() { return std::move(out_); }

    static error too_long() { return refused("subjects of one list are longer than " + std::to_string(max_expanded_bytes) + " bytes together"); }

  private:
    static error too_many() { return refused("more than " + std::to_string(max_expansions) + " expansions in one list"); }
    const template_context& context_;
    bool deny_;
    std::size_t bytes_ = 0, work_ = 0;
    texts out_;
};

// "{{", at least one character that is no "}", "}}".
std::vector<std::string> find_templates(std::string_view subject) {
    std::vector<std::string> out;
    for (std::size_t at = 0; (at = subject.find("{{", at)) != std::string_view::npos;) {
        const auto end = subject.find('}', at + 2);
        if (end == std::string_view::npos) break;
        if (end > at + 2 && subject.substr(end).starts_with("}}")) {
            out.emplace_back(subject.substr(at, end + 2 - at));
            at = end + 2;
        } else {
            at = end;
        }
    }
    return out;
}

// False when the text grows past the limit.
bool replace_all(std::string& text, const std::string& from, const std::string& to) {
    std::string out;
    std::size_t at = 0;
    for (std::size_t hit; (hit = text.find(from, at)) != std::string::npos; at = hit + from.size()) {
        out.append(text, at, hit - at).append(to);
        if (out.size() > max_expanded_bytes) return false;
    }
    text = out.append(text, at);
    return true;
}

result<void> expand_2_11(expander& e, const std::string& subject) {
    const auto templates = find_templates(subject);
    std::vector<texts> values;
    std::size_t choices = 1;
    for (const auto& t : templates) {
        const auto op = trimmed(std::string_view(t).substr(2, t.size() - 4));
        auto found = e.find(op, lower(op));
        if (!found) return found.error();
        auto& m = *found;
        if (!m) return refused("operation " + quoted_text(op) + " in " + quoted_text(subject) + " is not defined");
        if (m->is_tag && m->values.empty()) {
            if (e.deny()) return refused("deny list generated invalid subject from " + quoted_text(subject) + ": tag " + quoted_text(m->tag_name) + " is not defined");
            m->values.emplace_back(" ");
        }
        if (auto r = e.multiply(choices, m->values.size()); !r) return r;
        values.push_back(std::move(m->values));
    }
    return expander::for_each_choice(values, [&](const std::vector<std::size_t>& at) -> result<void> {
        // One after the other over the text made so far, as the server does: a value that is itself a
        // template gets replaced by a later step.
        auto text = subject;
        for (std::size_t i = 0; i < templates.size(); ++i) {
            if (auto r = e.spend(text.size()); !r) return r;
            if (!replace_all(text, templates[i], values[i][at[i]])) return expander::too_long();
        }
        return e.add(text);
    });
}

bool is_whole_token_template(std::string_view token) { return token.starts_with("{{") && token.ends_with("}}"); }

texts split(std::string_view subject) {
    texts out;
    while (true) {
        const auto dot = subject.find('.');
        out.emplace_back(subject.substr(0, dot));
        if (dot == std::string_view::npos) return out;
        subject.remove_prefix(dot + 1);
    }
}

result<void> expand_2_10(expander& e, const std::string& subject) {
    auto tokens = split(subject);
    std::vector<texts> values;
    std::size_t choices = 1;
    for (auto& token : tokens) {
        if (!is_whole_token_template(token)) continue;
        std::string_view op = token;
        op.remove_prefix(2);
        if (op.ends_with("}}")) op.remove_suffix(2);
        const auto folded = lower(op);
        auto found = e.find(folded, folded);
        if (!found) return found.error();
        auto& m = *found;
        if (!m) token = " ";
        else if (!m->is_tag) token = m->values.front();
        else token.clear();
        if (!m || !m->is_tag || m->values.empty()) continue;
        if (auto r = e.multiply(choices, m->values.size()); !r) return r;
        values.push_back(std::move(m->values));
    }
    return expander::for_each_choice(values, [&](const std::vector<std::size_t>& at) {
        // Empty tokens are filled from the left, whatever made them empty.
        std::string text;
        std::size_t next = 0;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (i != 0) text += '.';
            if (tokens[i].empty() && next < values.size()) {
                text += values[next][at[next]];
                ++next;
            } else {
                text += tokens[i];
            }
        }
        return e.add(text);
    });
}

bool has_template(const std::string& subject, template_dialect dialect) {
    if (dialect == template_dialect::v2_11) return !find_templates(subject).empty();
    return std::ranges::any_of(split(subject), is_whole_token_template);
}

result<texts> expand_list(const texts& list, const template_context& context, template_dialect dialect, bool deny) {
    if (std::ranges::none_of(list, [&](const auto& s) { return has_template(s, dialect); })) return list;
    expander e(context, deny);
    for (const auto& subject : list) {
        auto r = dialect == template_dialect::v2_11 ? expand_2_11(e, subject) : expand_2_10(e, subject);
        if (!r) return r.error();
    }
    return e.take();
}

result<subject_permission> expand(const subject_permission& scope, const template_context& context, template_dialect dialect) {
    auto allow = expand_list(scope.allow, context, dialect, false);
    if (!allow) return allow.error();
    auto deny = expand_list(scope.deny, context, dialect, true);
    if (!deny) return deny.error();
    subject_permission out{std::move(*allow), std::move(*deny)};
    // An emptied allow list would mean "everything".
    if (!scope.allow.empty() && out.allow.empty() && std::ranges::find(out.deny, ">") == out.deny.end()) out.deny.emplace_back(">");
    return out;
}

}  // namespace

result<permissions> expand(const permissions& scope, const template_context& context, template_dialect dialect) {
    auto sub = expand(scope.sub, context, dialect);
    if (!sub) return sub.error();
    auto pub = expand(scope.pub, context, dialect);
    if (!pub) return pub.error();
    return permissions{std::move(*pub), std::move(*sub), scope.resp};
}

}  // namespace callgate::nats
