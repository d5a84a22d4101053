// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/text_template.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <callgate/nats/nkey.hpp>
#include <callgate/nats/subject.hpp>

namespace callgate::policy {
namespace {

constexpr std::size_t max_holes = 16;

std::string_view trimmed(std::string_view t) {
    while (!t.empty() && t.front() == ' ') t.remove_prefix(1);
    while (!t.empty() && t.back() == ' ') t.remove_suffix(1);
    return t;
}

bool is_printable(std::string_view t) {
    return std::ranges::none_of(t, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool is_key_segment(std::string_view t) {
    return t.find_first_not_of('.') != std::string_view::npos && std::ranges::all_of(t, [](char c) { return c > 0x20 && c < 0x7f && c != '/'; });
}

// nullopt = a type that has no text
std::optional<std::string> scalar_text(const simdjson::dom::element& e) {
    switch (e.type()) {
        case simdjson::dom::element_type::STRING: return std::string(e.get_string().value_unsafe());
        case simdjson::dom::element_type::INT64: return std::to_string(e.get_int64().value_unsafe());
        case simdjson::dom::element_type::UINT64: return std::to_string(e.get_uint64().value_unsafe());
        case simdjson::dom::element_type::BOOL: return e.get_bool().value_unsafe() ? "true" : "false";
        default: return std::nullopt;
    }
}

std::optional<refusal> values_of(const field& f, const facts& known, std::vector<std::string>& out) {
    const auto missing = [&] { return refusal{"placeholder_missing", fmt::format("{{{{{}}}}} has no value", f.name)}; };
    if (f.type == field_type::claim) {
        const auto value = known.claims ? known.claims->find(f.path) : std::nullopt;
        if (!value) return missing();
        simdjson::dom::array items;
        if (!value->get_array().get(items)) {
            for (const auto item : items) {
                auto text = scalar_text(item);
                if (!text) return refusal{"placeholder_unsafe", fmt::format("{{{{{}}}}} holds something other than texts and whole numbers", f.name)};
                if (text->empty()) return missing();
                if (out.size() == max_list_values) {
                    return refusal{"too_many_subjects", fmt::format("{{{{{}}}}} has more than {} values", f.name, max_list_values)};
                }
                if (std::ranges::find(out, *text) == out.end()) out.push_back(std::move(*text));
            }
        } else {
            auto text = scalar_text(*value);
            if (!text) return refusal{"placeholder_unsafe", fmt::format("{{{{{}}}}} is neither text nor whole number", f.name)};
            out.push_back(std::move(*text));
        }
    } else if (f.type == field_type::list) {
        for (const auto t : list_of(f.id, known)) {
            if (out.size() == max_list_values) {
                return refusal{"too_many_subjects", fmt::format("{{{{{}}}}} has more than {} values", f.name, max_list_values)};
            }
            if (t.empty()) return missing();
            if (std::ranges::find(out, t) == out.end()) out.emplace_back(t);
        }
    } else {
        out.emplace_back(text_of(f.id, known));
    }
    // An empty list would leave an empty allow list, and that allows everything in NATS.
    if (out.empty() || out.front().empty()) return missing();
    return std::nullopt;
}

}  // namespace

std::string encode_token(std::string_view bytes) {
    auto out = nats::base32_encode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

std::optional<text_template> text_template::parse(const std::string& text, int line, const std::string& path, const condition_context& context) {
    text_template t;
    const auto fail = [&](std::string why) {
        context.to->error(line, path, std::move(why));
        return std::nullopt;
    };
    std::string_view rest = text;
    while (true) {
        const auto open = rest.find("{{");
        t.pieces_.back() += rest.substr(0, open);
        if (t.pieces_.back().find("}}") != std::string::npos) return fail("has }} without {{");
        if (open == std::string_view::npos) break;
        rest.remove_prefix(open + 2);
        const auto close = rest.find("}}");
        if (close == std::string_view::npos) return fail("has {{ without }}");
        auto name = trimmed(rest.substr(0, close));
        rest.remove_prefix(close + 2);
        hole h{0, false};
        // A bar inside quotes belongs to a claim's name.
        if (const auto bar = name.rfind('|'); bar != std::string_view::npos && name.find('"', bar) == std::string_view::npos) {
            const auto filter = trimmed(name.substr(bar + 1));
            if (filter != "base32") return fail(fmt::format("{{{{{}}}}}: the only filter is base32", name));
            h.base32 = true;
            name = trimmed(name.substr(0, bar));
        }
        const auto f = parse_field(name);
        if (!f || f->type == field_type::flag) {
            const auto near = nearest(name, field_names());
            return fail(near.empty() ? fmt::format("{{{{{}}}}}: no such placeholder; known are sub, backend, issuer, claims.<path>, k8s.<name>, connection.<name>, tags", name)
                                     : fmt::format("{{{{{}}}}}: no such placeholder; did you mean {{{{{}}}}}?", name, near));
        }
        if (!check_field(*f, line, path, context)) return std::nullopt;
        if (f->self_asserted()) {
            context.to->warning(line, path, fmt::format("{{{{{}}}}} is what the client says about itself; no backend checked it", name));
        }
        const auto same = std::ranges::find_if(t.fields_, [&](const field& g) { return g.id == f->id && g.path == f->path; });
        h.field = static_cast<std::size_t>(same - t.fields_.begin());
        if (same == t.fields_.end()) t.fields_.push_back(*f);
        t.holes_.push_back(h);
        if (t.holes_.size() > max_holes) return fail(fmt::format("has more than {} placeholders", max_holes));
        t.pieces_.emplace_back();
    }
    return t;
}

std::string text_template::sample() const {
    std::string out = pieces_.front();
    for (std::size_t i = 0; i < holes_.size(); ++i) out += "x" + pieces_[i + 1];
    return out;
}

std::optional<refusal> text_template::expand(const facts& f, insertion how, std::size_t limit, std::vector<std::string>& out) const {
    std::vector<std::vector<std::string>> values(fields_.size());
    std::size_t product = 1;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
        if (auto r = values_of(fields_[i], f, values[i])) return r;
        product *= values[i].size();
        if (product > limit) return refusal{"too_many_subjects", fmt::format("more than {} values at {{{{{}}}}}", limit, fields_[i].name)};
    }
    if (product > limit) return refusal{"too_many_subjects", fmt::format("more than {} subjects", limit)};
    std::vector<std::size_t> at(fields_.size(), 0);
    for (std::size_t n = 0; n < product; ++n) {
        std::string text = pieces_.front();
        for (std::size_t i = 0; i < holes_.size(); ++i) {
            const hole& h = holes_[i];
            const std::string& value = values[h.field][at[h.field]];
            if (h.base32 || how == insertion::encoded) {
                text += encode_token(value);
            } else if (how == insertion::one_token && !nats::is_safe_token(value)) {
                return refusal{"placeholder_unsafe", fmt::format("value of {{{{{}}}}} is not one subject token (it has a dot, wildcard, blank, control or non-ASCII character); the rule may say encode: base32", fields_[h.field].name)};
            } else if (how == insertion::key_segment && !is_key_segment(value)) {
                return refusal{"placeholder_unsafe", fmt::format("value of {{{{{}}}}} is not one segment of a key (it has a slash, blank, control or non-ASCII character, or is only dots); the rule may say encode: base32", fields_[h.field].name)};
            } else if (!is_printable(value)) {
                return refusal{"placeholder_unsafe", fmt::format("value of {{{{{}}}}} has a control character", fields_[h.field].name)};
            } else {
                text += value;
            }
            text += pieces_[i + 1];
            if (text.size() > max_subject_bytes) return refusal{"placeholder_unsafe", fmt::format("longer than {} bytes with the value of {{{{{}}}}}", max_subject_bytes, fields_[h.field].name)};
        }
        out.push_back(std::move(text));
        for (std::size_t i = at.size(); i-- > 0;) {
            if (++at[i] < values[i].size()) break;
            at[i] = 0;
        }
    }
    return std::nullopt;
}

std::optional<refusal> text_template::expand_one(const facts& f, insertion how, std::string& out) const {
    std::vector<std::string> all;
    if (auto r = expand(f, how, max_list_values, all)) return r;
    if (all.size() != 1) return refusal{"placeholder_unsafe", fmt::format("{{{{{}}}}} has several values where one is needed", fields_.front().name)};
    out = std::move(all.front());
    return std::nullopt;
}

}  // namespace callgate::policy
