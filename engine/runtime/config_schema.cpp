// SPDX-License-Identifier: Apache-2.0
// The only place that includes valijson and, through it, Boost.JSON's adapter.
#define VALIJSON_USE_EXCEPTIONS 1  // otherwise a schema it cannot read ends the process
#include "engine/runtime/config_schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <exception>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "engine/runtime/config.hpp"

namespace callgate::runtime {
namespace {

constexpr std::size_t max_violations = 64;

boost::json::value parse_json(const std::string& text, std::string& why) {
    boost::system::error_code ec;
    boost::json::parse_options options;
    options.max_depth = 72;
    auto value = boost::json::parse(text, ec, {}, options);
    if (ec) why = ec.message();
    return value;
}

// valijson writes {"<root>", "[files]", "[0]"} for members and items alike; the value tells which it is.
std::string path_of(const std::vector<std::string>& context, const boost::json::value& root) {
    std::string out;
    const boost::json::value* at = &root;
    for (std::size_t i = 1; i < context.size(); ++i) {
        std::string_view part = context[i];
        if (part.size() >= 2 && part.front() == '[' && part.back() == ']') part = part.substr(1, part.size() - 2);
        if (at != nullptr && at->is_array()) {
            out += fmt::format("[{}]", part);
            std::size_t index = 0;
            const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
            at = parsed.ec == std::errc{} && index < at->get_array().size() ? &at->get_array()[index] : nullptr;
        } else {
            if (!out.empty()) out += '.';
            out += part;
            at = at != nullptr && at->is_object() ? at->get_object().if_contains({part.data(), part.size()}) : nullptr;
        }
    }
    return out;
}

}  // namespace

std::vector<schema_violation> validate_json(const std::string& schema_json, const std::string& value_json) {
    std::string why;
    const auto schema_value = parse_json(schema_json, why);
    if (!why.empty()) return {{{}, "the schema is not JSON: " + why}};
    const auto value = parse_json(value_json, why);
    if (!why.empty()) return {{{}, "is not JSON: " + why}};
    try {
        valijson::Schema schema;
        valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
        parser.populateSchema(valijson::adapters::BoostJsonAdapter(schema_value), schema);
        valijson::Validator validator;
        valijson::ValidationResults results;
        const valijson::adapters::BoostJsonAdapter target(value);
        if (validator.validate(schema, target, &results)) return {};
        std::vector<schema_violation> out;
        for (const auto& e : results) {
            if (out.size() == max_violations) break;
            out.push_back({path_of(e.context, value), e.description});
        }
        if (out.empty()) out.push_back({{}, "does not fit the schema"});
        // The outer levels only repeat that something inside is wrong.
        std::ranges::stable_sort(out, [](const auto& a, const auto& b) { return a.where.size() > b.where.size(); });
        return out;
    } catch (const std::exception& e) {
        return {{{}, fmt::format("the schema cannot be used: {}", e.what())}};
    }
}

std::vector<finding> check_against_schema(const std::string& schema_json, const instance_options& instance, const std::string& file,
                                          const std::string& section) {
    std::vector<finding> out;
    for (auto& v : validate_json(schema_json, instance.config_json)) {
        int line = instance.line;
        if (const auto found = std::ranges::find(instance.config_lines, v.where, &std::pair<std::string, int>::first); found != instance.config_lines.end()) {
            line = found->second;
        }
        const bool inside = v.where.empty() || v.where.front() == '[';
        out.push_back({finding::severity::error, file, line, fmt::format("{}.{}.config{}{}", section, instance.name, inside ? "" : ".", v.where), std::move(v.text)});
    }
    return out;
}

}  // namespace callgate::runtime
