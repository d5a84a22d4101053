// SPDX-License-Identifier: Apache-2.0
// The only source of this plugin that sees yaml-cpp.
#include <boost/json.hpp>
#include <callgate/nats/nkey.hpp>
#include <charconv>
#include <cmath>
#include <set>
#include <sstream>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "plugins/auth_static/users_file.hpp"

namespace callgate::auth_static {
namespace {

constexpr std::size_t max_attribute_bytes = 64 * 1024;
constexpr std::size_t max_attribute_nodes = 4096;
constexpr int max_attribute_depth = 16;
constexpr std::size_t max_credentials = 16;

class reader {
  public:
    explicit reader(const std::string& name) : name_(name) {}

    std::vector<user_entry> document(const YAML::Node& root) {
        expect(root, YAML::NodeType::Map, "the file", "a map with the key users");
        std::vector<user_entry> out;
        std::set<std::string> keys;
        for (const auto& m : root) {
            const auto key = key_of(m.first, keys);
            if (key != "users") fail(m.first, "unknown key \"" + printable(key) + "\"; the file has one key, users");
            expect(m.second, YAML::NodeType::Sequence, "users", "a list");
            if (m.second.size() > max_users) fail(m.second, "more than 100000 users");
            for (const auto& u : m.second) {
                out.push_back(user(u));
                // Found here rather than in the table, so that the message has a line.
                once(u, names_, "user name", out.back().user, shown(out.back().user));
                for (const auto& n : out.back().nkeys) once(u, nkeys_, "nkey", n, n);
                for (const auto& t : out.back().tokens)
                    once(u, tokens_, "token", std::string(t.begin(), t.end()), "of user \"" + shown(out.back().user) + "\"");
            }
        }
        if (keys.empty()) fail(root, "the key users is missing");
        return out;
    }

    [[noreturn]] void fail(const YAML::Mark& mark, const std::string& why) const {
        throw sdk::status_error(CG_E_INVALID, why, name_ + (mark.is_null() ? "" : ":" + std::to_string(mark.line + 1)));
    }

  private:
    [[noreturn]] void fail(const YAML::Node& node, const std::string& why) const { fail(node.Mark(), why); }
    void once(const YAML::Node& at, std::set<std::string>& seen, const char* what, const std::string& key, const std::string& shown) {
        if (!seen.insert(key).second) fail(at, std::string(what) + " " + shown + " stands there twice");
    }
    void expect(const YAML::Node& node, YAML::NodeType::value type, const std::string& what, const char* form) const {
        if (node.Type() != type) fail(node, what + " must be " + form);
    }
    /// yaml-cpp keeps duplicate keys and looks up the first: they are found here.
    std::string key_of(const YAML::Node& key, std::set<std::string>& seen) const {
        if (!key.IsScalar()) fail(key, "a key must be plain text");
        if (!seen.insert(key.Scalar()).second) fail(key, "key \"" + printable(key.Scalar()) + "\" stands there twice");
        return key.Scalar();
    }
    /// How a key is named in a message. Where a quote is forgotten the key reaches into the values: no more than a word is shown.
    static std::string printable(std::string_view text) {
        std::string out;
        for (const char c : text.substr(0, 32)) {
            const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-' || c == '.';
            if (!plain) return out + "...";
            out += c;
        }
        return text.size() > 32 ? out + "..." : out;
    }
    /// A user name in a message, up to where a hash may have slipped into it.
    static std::string shown(const std::string& user) {
        const auto cut = user.find('$');
        return cut == std::string::npos ? user : user.substr(0, cut) + "...";
    }
    std::string scalar(const YAML::Node& node, const std::string& what) const {
        expect(node, YAML::NodeType::Scalar, what, "text");
        if (node.Scalar().empty()) fail(node, what + " is empty");
        return node.Scalar();
    }

    user_entry user(const YAML::Node& node) {
        expect(node, YAML::NodeType::Map, "a user", "a map");
        user_entry out;
        std::set<std::string> keys;
        for (const auto& m : node) {
            const auto key = key_of(m.first, keys);
            if (key == "user") {
                out.user = scalar(m.second, key);
                if (out.user.size() > 256 || !valid_name(out.user)) fail(m.second, "a user name has 1 to 256 bytes of UTF-8 without control characters");
            } else if (key == "password") {
                std::string why;
                out.password = parse_password_hash(scalar(m.second, key), why);
                if (!out.password) fail(m.second, "password: " + why);
            } else if (key == "token_sha256") {
                for (const auto& v : one_or_more(m.second, key)) out.tokens.push_back(token(v));
            } else if (key == "nkey") {
                for (const auto& v : one_or_more(m.second, key)) out.nkeys.push_back(nkey(v));
            } else if (key == "attributes") {
                out.attributes_json = attributes(m.second);
            } else {
                fail(m.first, "unknown key \"" + printable(key) + "\"; a user has user, password, token_sha256, nkey, attributes");
            }
        }
        if (out.user.empty()) fail(node, "the key user is missing");
        if (!out.password && out.tokens.empty() && out.nkeys.empty())
            fail(node, "user \"" + shown(out.user) + "\" has no credential; give password, token_sha256 or nkey");
        return out;
    }

    static bool valid_name(std::string_view name) {
        for (const char c : name)
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
        return utf8(boost::json::serialize(boost::json::string(name)));
    }
    /// Boost.JSON checks the encoding of what it parses, not of what it serializes.
    static bool utf8(const std::string& document) {
        boost::json::error_code ec;
        boost::json::parse(document, ec);
        return !ec;
    }

    std::vector<YAML::Node> one_or_more(const YAML::Node& node, const std::string& key) const {
        if (!node.IsSequence()) return {node};
        if (node.size() == 0 || node.size() > max_credentials) fail(node, key + " must be one or a list of 1 to 16");
        return {node.begin(), node.end()};
    }
    digest token(const YAML::Node& node) const {
        const auto text = scalar(node, "token_sha256");
        digest out{};
        bool good = text.size() == 64;
        for (std::size_t i = 0; good && i < out.size(); ++i) {
            const auto [p, ec] = std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, out[i], 16);
            good = ec == std::errc{} && p == text.data() + 2 * i + 2;
        }
        if (!good) fail(node, "token_sha256 must be the SHA-256 of the token in 64 hexadecimal digits");
        return out;
    }
    std::string nkey(const YAML::Node& node) const {
        const auto text = scalar(node, "nkey");
        const auto key = nats::decode_public(text, nats::key_type::user);
        if (!key) fail(node, "nkey must be the public key of a user, U and 55 more characters");
        if (crypto::is_weak_public_key(key->bytes)) fail(node, "nkey is of small order, which nobody's key is");
        return text;
    }

    std::string attributes(const YAML::Node& node) {
        expect(node, YAML::NodeType::Map, "attributes", "a map");
        nodes_ = 0;
        const auto text = boost::json::serialize(value(node, 0));
        if (text.size() > max_attribute_bytes) fail(node, "attributes are larger than 64 KiB");
        if (!utf8(text)) fail(node, "attributes are not UTF-8");
        return text;
    }
    boost::json::value value(const YAML::Node& node, int depth) {
        // Bounded here because aliases make a small file a large tree, or an endless one.
        if (depth > max_attribute_depth || ++nodes_ > max_attribute_nodes) fail(node, "attributes have more than 16 levels or 4096 values");
        switch (node.Type()) {
            case YAML::NodeType::Map: {
                boost::json::object out;
                std::set<std::string> keys;
                for (const auto& m : node) out[key_of(m.first, keys)] = value(m.second, depth + 1);
                return out;
            }
            case YAML::NodeType::Sequence: {
                boost::json::array out;
                for (const auto& v : node) out.push_back(value(v, depth + 1));
                return out;
            }
            case YAML::NodeType::Scalar: return plain(node);
            default: return nullptr;
        }
    }
    /// Quoted text stays text; plain text follows the core schema of YAML 1.2.
    static boost::json::value plain(const YAML::Node& node) {
        const auto& text = node.Scalar();
        if (node.Tag() != "?") return boost::json::string(text);
        if (text == "true" || text == "True" || text == "TRUE") return true;
        if (text == "false" || text == "False" || text == "FALSE") return false;
        std::int64_t whole = 0;
        const char* last = text.data() + text.size();
        if (const auto [p, ec] = std::from_chars(text.data(), last, whole); ec == std::errc{} && p == last) return whole;
        double real = 0;
        const bool numeric = !text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string::npos;
        if (const auto [p, ec] = std::from_chars(text.data(), last, real); numeric && ec == std::errc{} && p == last && std::isfinite(real)) return real;
        return boost::json::string(text);
    }

    const std::string& name_;
    std::set<std::string> names_, nkeys_, tokens_;
    std::size_t nodes_ = 0;
};

class no_events final : public YAML::EventHandler {
  public:
    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

// Not by LoadAll: in some malformed files yaml-cpp 0.7 finds documents without end, and LoadAll keeps them all.
bool is_one_document(const std::string& text) {
    std::istringstream in(text);
    YAML::Parser parser(in);
    no_events ignore;
    return parser.HandleNextDocument(ignore) && !parser.HandleNextDocument(ignore);
}

}  // namespace

std::vector<user_entry> parse_users(const std::string& text, const std::string& name) {
    reader r(name);
    try {
        if (!is_one_document(text)) throw sdk::status_error(CG_E_INVALID, "the users file must hold exactly one YAML document", name);
        return r.document(YAML::Load(text));
    } catch (const YAML::Exception& e) {
        // e.msg never quotes the file beyond a single key or tag.
        r.fail(e.mark, "not valid YAML: " + e.msg);
    }
}

}  // namespace callgate::auth_static
