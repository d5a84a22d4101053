// SPDX-License-Identifier: Apache-2.0
// The only place that includes valijson.
#define VALIJSON_USE_EXCEPTIONS 1
#include "sdk/check/schema.hpp"

#include <boost/json.hpp>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "sdk/check/recorder.hpp"

namespace callgate::check {

std::string check_schema(const std::string& schema_text, const std::string& json) {
    if (schema_text.empty()) return {};
    boost::system::error_code ec;
    const auto schema_value = boost::json::parse(schema_text, ec);
    if (ec) {
        recorder::violated("library.manifest", "the config_schema is not JSON (" + ec.message() + "); it is JSON Schema, draft 7");
        return {};
    }
    const auto value = boost::json::parse(json, ec);
    if (ec) return "the configuration is not JSON: " + ec.message();
    try {
        valijson::Schema schema;
        valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
        parser.populateSchema(valijson::adapters::BoostJsonAdapter(schema_value), schema);
        valijson::Validator validator;
        valijson::ValidationResults results;
        if (validator.validate(schema, valijson::adapters::BoostJsonAdapter(value), &results)) return {};
        std::string out;
        for (const auto& e : results) {
            out += out.empty() ? "" : "; ";
            for (const auto& part : e.context) out += part;
            out += " " + e.description;
        }
        return out.empty() ? "does not fit the schema" : out;
    } catch (const std::exception& e) {
        recorder::violated("library.manifest", std::string("the config_schema cannot be used: ") + e.what() + "; it is JSON Schema, draft 7");
        return {};
    }
}

}  // namespace callgate::check
