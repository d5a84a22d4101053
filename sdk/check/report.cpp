// SPDX-License-Identifier: Apache-2.0
// Results as text, JSON and JUnit.
#include <boost/json.hpp>
#include <cstdio>
#include <map>

#include "sdk/check/runner.hpp"

namespace callgate::check {
namespace {

const char* status_name(check_status s) {
    switch (s) {
        case check_status::passed: return "passed";
        case check_status::failed: return "failed";
        case check_status::skipped: return "skipped";
        default: return "blocked";
    }
}

std::string joined(const std::vector<std::string>& texts, const char* between) {
    std::string out;
    for (const auto& t : texts) out += (out.empty() ? "" : between) + t;
    return out;
}

// XML 1.0 takes neither control characters nor broken UTF-8; plugins print both.
std::string xml(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const auto u = static_cast<unsigned char>(c);
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '"')
            out += "&quot;";
        else if (c == '\n')
            out += "&#10;";
        else if (u < 0x20 || u >= 0x7f)
            out += '?';
        else
            out += c;
    }
    return out;
}

std::string ascii(const std::string& text) {
    std::string out;
    for (const char c : text) out += static_cast<unsigned char>(c) < 0x80 ? c : '?';
    return out;
}

std::size_t count(const std::vector<check_result>& results, check_status s) {
    std::size_t n = 0;
    for (const auto& r : results) n += r.status == s ? 1 : 0;
    return n;
}

std::string seconds(double s) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", s);
    return text;
}

std::string also(const check_result& r) {
    std::string out;
    std::size_t n = 0;
    for (const auto& t : r.seen_in)
        if (t != r.name && ++n <= 4) out += (out.empty() ? "" : ", ") + t;
    if (n > 4) out += " and " + std::to_string(n - 4) + " more";
    return out.empty() ? "" : "seen in " + out;
}

}  // namespace

std::string to_text(const std::vector<check_result>& results, bool verbose) {
    std::string out;
    std::map<std::string, std::size_t> blocked;
    for (const auto& r : results) {
        if (r.status == check_status::passed && !verbose) continue;
        if (r.status == check_status::blocked && !verbose) {
            ++blocked[joined(r.texts, "; ")];
            continue;
        }
        out += std::string(r.status == check_status::failed ? "FAILED " : "") + (r.status == check_status::failed ? "" : std::string(status_name(r.status)) + " ") + r.name + ": " + r.summary + "\n";
        for (const auto& t : r.texts) out += "    " + t + "\n";
        if (const auto where = also(r); !where.empty()) out += "    (" + where + ")\n";
        if (verbose)
            for (std::size_t i = r.notes.size() > 5 ? r.notes.size() - 5 : 0; i < r.notes.size(); ++i) out += "    note: " + r.notes[i] + "\n";
    }
    for (const auto& [reason, n] : blocked) out += "blocked: " + std::to_string(n) + " checks could not be judged, " + reason + "\n";
    out += std::to_string(count(results, check_status::passed)) + " passed, " + std::to_string(count(results, check_status::failed)) + " failed, " +
           std::to_string(count(results, check_status::blocked)) + " blocked, " + std::to_string(count(results, check_status::skipped)) + " skipped\n";
    return out;
}

std::string to_json(const settings& s, const std::vector<check_result>& results) {
    boost::json::array checks;
    for (const auto& r : results) {
        boost::json::array texts, seen;
        for (const auto& t : r.texts) texts.push_back(boost::json::string(ascii(t)));
        for (const auto& t : r.seen_in) seen.push_back(boost::json::string(t));
        checks.push_back({{"name", r.name}, {"status", status_name(r.status)}, {"summary", r.summary}, {"texts", texts}, {"seen_in", seen}, {"seconds", r.seconds}});
    }
    const boost::json::object root = {{"plugin", ascii(s.plugin)}, {"seed", s.seed}, {"checks", checks}};
    return boost::json::serialize(root) + "\n";
}

std::string to_junit(const settings& s, const std::vector<check_result>& results) {
    double all = 0;
    for (const auto& r : results) all += r.seconds;
    std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"" + xml(s.plugin) + "\" tests=\"" + std::to_string(results.size()) + "\" failures=\"" +
                      std::to_string(count(results, check_status::failed)) + "\" skipped=\"" + std::to_string(count(results, check_status::skipped) + count(results, check_status::blocked)) + "\" time=\"" +
                      seconds(all) + "\">\n";
    for (const auto& r : results) {
        const auto dot = r.name.find('.');
        out += "<testcase classname=\"" + xml(r.name.substr(0, dot)) + "\" name=\"" + xml(r.name.substr(dot + 1)) + "\" time=\"" + seconds(r.seconds) + "\">";
        if (r.status == check_status::failed)
            out += "<failure message=\"" + xml(joined(r.texts, "; ")) + "\"/>";
        else if (r.status != check_status::passed)
            out += "<skipped message=\"" + xml(std::string(r.status == check_status::blocked ? "blocked " : "") + joined(r.texts, "; ")) + "\"/>";
        out += "</testcase>\n";
    }
    return out + "</testsuite>\n</testsuites>\n";
}

}  // namespace callgate::check
