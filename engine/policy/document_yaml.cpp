// SPDX-License-Identifier: Apache-2.0
// The only place of the engine that includes yaml-cpp. Its event interface is used instead of YAML::Load,
// which keeps the first of two equal keys silently and copies what aliases name.
#include <fmt/format.h>
#include <simdjson.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_map>

#include "engine/policy/document.hpp"

namespace callgate::policy {
namespace {

struct stop_reading {};  // thrown through yaml-cpp, which has no other way to end early

class tree_builder final : public YAML::EventHandler {
  public:
    tree_builder(const std::string& file, std::vector<finding>& out) : to_(file, out) {}

    node root;

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { take(mark, node::kind::null); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        to_.error(line_of(mark), here(), "an alias (*name) stands here; write the value out, aliases are not supported");
        take(mark, node::kind::null);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
        check_tag(mark, tag);
        if (!frames_.empty() && frames_.back()->is_mapping() && !frames_.back_has_key()) {
            take_key(mark, value);
            return;
        }
        node& n = take(mark, node::kind::scalar);
        n.quoted = tag == "!";
        n.text = value;
        if (!n.quoted && (value.empty() || value == "~" || value == "null")) n.type = node::kind::null;
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
        check_tag(mark, tag);
        open(mark, node::kind::sequence);
    }
    void OnSequenceEnd() override { frames_.pop(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
        check_tag(mark, tag);
        open(mark, node::kind::mapping);
    }
    void OnMapEnd() override { frames_.pop(); }

  private:
    static int line_of(const YAML::Mark& mark) { return mark.line + 1; }

    // Open containers from the outside in. Pointers stay valid: only the innermost container grows.
    struct stack {
        std::vector<node*> nodes;
        std::vector<bool> keyed;
        std::vector<std::unordered_map<std::string, int>> seen;  // keys of each mapping and their lines
        [[nodiscard]] bool empty() const { return nodes.empty(); }
        [[nodiscard]] node* back() const { return nodes.back(); }
        [[nodiscard]] bool back_has_key() const { return keyed.back(); }
        void push(node* n) { nodes.push_back(n); keyed.push_back(false); seen.emplace_back(); }
        void pop() { nodes.pop_back(); keyed.pop_back(); seen.pop_back(); }
    };

    [[nodiscard]] std::string here() const {
        std::string path;
        for (const node* n : frames_.nodes) {
            if (n->is_mapping() && !n->members.empty()) path += (path.empty() ? "" : ".") + n->members.back().key;
            if (n->is_sequence()) path += fmt::format("[{}]", n->items.size());
        }
        return path;
    }

    void check_tag(const YAML::Mark& mark, const std::string& tag) {
        if (tag != "?" && tag != "!" && !tag.empty()) to_.error(line_of(mark), here(), "a type tag (!...) stands here; remove it");
    }

    void take_key(const YAML::Mark& mark, const std::string& key) {
        node& map = *frames_.back();
        const auto [first, fresh] = frames_.seen.back().emplace(key, line_of(mark));
        if (!fresh) {
            to_.error(line_of(mark), here_without_last() + node_key(key),
                      fmt::format("appears twice in the same mapping, first in line {}; remove one", first->second));
        }
        map.members.push_back({key, line_of(mark), {}});
        if (key == "<<") to_.error(line_of(mark), here(), "merge keys (<<) are not supported; write the keys out");
        frames_.keyed.back() = true;
        count(mark);
    }
    [[nodiscard]] static std::string node_key(const std::string& key) {
        node n;
        n.type = node::kind::scalar;
        n.text = key;
        auto shown = n.shown();
        return shown.size() >= 2 && shown.front() == '"' ? shown.substr(1, shown.size() - 2) : shown;
    }
    [[nodiscard]] std::string here_without_last() const {
        std::string path = here();
        const auto dot = path.rfind('.');
        return dot == std::string::npos ? std::string{} : path.substr(0, dot + 1);
    }

    void count(const YAML::Mark& mark) {
        if (++nodes_ > max_document_nodes) {
            to_.error(line_of(mark), {}, fmt::format("more than {} values; split the file", max_document_nodes));
            throw stop_reading{};
        }
    }

    node& take(const YAML::Mark& mark, node::kind type) {
        count(mark);
        node* target = &root;
        if (!frames_.empty()) {
            node& parent = *frames_.back();
            if (parent.is_sequence()) {
                target = &parent.items.emplace_back();
            } else if (frames_.back_has_key()) {
                target = &parent.members.back().value;
                frames_.keyed.back() = false;
            } else {
                to_.error(line_of(mark), here(), "a key must be a plain word");
                throw stop_reading{};
            }
        }
        target->type = type;
        target->line = line_of(mark);
        // yaml-cpp marks a block by its first line, which is below the key it belongs to.
        if (type != node::kind::scalar && !frames_.empty() && frames_.back()->is_mapping()) target->line = frames_.back()->members.back().line;
        return *target;
    }

    void open(const YAML::Mark& mark, node::kind type) {
        if (frames_.nodes.size() >= max_document_depth) {
            to_.error(line_of(mark), {}, fmt::format("nested deeper than {} levels", max_document_depth));
            throw stop_reading{};
        }
        frames_.push(&take(mark, type));
    }

    reporter to_;
    stack frames_;
    std::size_t nodes_ = 0;
};

}  // namespace

std::optional<node> parse_yaml(const std::string& text, const std::string& file, std::vector<finding>& out) {
    const reporter to(file, out);
    if (text.size() > max_document_bytes) {
        to.error(0, {}, fmt::format("{} bytes, more than the {} a configuration may have", text.size(), max_document_bytes));
        return std::nullopt;
    }
    if (!simdjson::validate_utf8(text.data(), text.size()) || text.find('\0') != std::string::npos) {
        to.error(0, {}, "not UTF-8 text; save the file as UTF-8");
        return std::nullopt;
    }
    tree_builder builder(file, out);
    try {
        std::istringstream in(text);
        YAML::Parser parser(in);
        if (!parser.HandleNextDocument(builder)) {
            builder.root.line = 1;
            return builder.root;
        }
        tree_builder second(file, out);
        if (parser.HandleNextDocument(second)) {
            to.error(second.root.line, {}, "a second YAML document (---) starts here; a configuration is one document");
        }
    } catch (const stop_reading&) {
        return std::nullopt;
    } catch (const YAML::Exception& e) {
        to.error(e.mark.line + 1, {}, fmt::format("not valid YAML near column {}: {}", e.mark.column + 1, e.msg));
        return std::nullopt;
    }
    return std::move(builder.root);
}

}  // namespace callgate::policy
