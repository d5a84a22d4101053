// SPDX-License-Identifier: Apache-2.0
#include "json_reader.hpp"

#include <callgate/nats/json_writer.hpp>

#include <algorithm>
#include <vector>

namespace callgate::nats {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

error bad_json(std::string_view what, const std::string& why) { return {errc::bad_json, std::string(what) + ": " + why}; }

result<void> check(element value, unsigned depth, std::string_view what) {
    const bool container = value.is_object() || value.is_array();
    if (container && depth > json_max_depth) return bad_json(what, "nested deeper than " + std::to_string(json_max_depth) + " levels");
    if (value.is_array()) {
        const simdjson::dom::array items = value.get_array().value_unsafe();
        for (element item : items)
            if (auto r = check(item, depth + 1, what); !r) return r;
    } else if (value.is_object()) {
        std::vector<std::string_view> names;
        const simdjson::dom::object members = value.get_object().value_unsafe();
        for (auto [name, item] : members) {
            names.push_back(name);
            if (auto r = check(item, depth + 1, what); !r) return r;
        }
        std::ranges::sort(names);
        if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
            std::string name;
            append_json_string(name, twice->substr(0, 64));
            return bad_json(what, "member " + name + " appears twice");
        }
    }
    return {};
}

void write(json_writer& out, element value) {
    switch (value.type()) {
        case element_type::ARRAY: {
            const simdjson::dom::array items = value.get_array().value_unsafe();
            out.begin_array();
            for (element item : items) write(out, item);
            out.end_array();
            break;
        }
        case element_type::OBJECT: {
            const simdjson::dom::object members = value.get_object().value_unsafe();
            out.begin_object();
            for (auto [name, item] : members) {
                out.key(name);
                write(out, item);
            }
            out.end_object();
            break;
        }
        case element_type::INT64: out.integer(value.get_int64().value_unsafe()); break;
        case element_type::UINT64: out.unsigned_integer(value.get_uint64().value_unsafe()); break;
        case element_type::DOUBLE: out.real(value.get_double().value_unsafe()); break;
        case element_type::STRING: out.string(value.get_string().value_unsafe()); break;
        case element_type::BOOL: out.boolean(value.get_bool().value_unsafe()); break;
        case element_type::NULL_VALUE: out.raw("null"); break;
    }
}

}  // namespace

result<element> parse_strict(simdjson::dom::parser& parser, std::string_view text, std::string_view what) {
    element root;
    if (const auto e = parser.parse(text.data(), text.size()).get(root); e != simdjson::SUCCESS)
        return bad_json(what, std::string("not valid JSON: ") + simdjson::error_message(e));
    if (auto r = check(root, 1, what); !r) return r.error();
    return root;
}

result<simdjson::dom::object> parse_strict_object(simdjson::dom::parser& parser, std::string_view text, std::string_view what) {
    auto root = parse_strict(parser, text, what);
    if (!root) return root.error();
    if (!root->is_object()) return bad_json(what, "not a JSON object");
    return root->get_object().value_unsafe();
}

std::string json_text(element value) {
    std::string out;
    json_writer w(out);
    write(w, value);
    return out;
}

std::string folded_name(std::string_view name) {
    std::string out;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = name[i];
        if (c >= 'A' && c <= 'Z') {
            out += static_cast<char>(c - 'A' + 'a');
        } else if (name.substr(i).starts_with("\xc5\xbf")) {  // U+017F folds to s
            out += 's';
            i += 1;
        } else if (name.substr(i).starts_with("\xe2\x84\xaa")) {  // U+212A folds to k
            out += 'k';
            i += 2;
        } else {
            out += c;
        }
    }
    return out;
}

}  // namespace callgate::nats
