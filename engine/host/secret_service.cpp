// SPDX-License-Identifier: Apache-2.0
#include "engine/host/secret_service.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

#include "engine/base/log.hpp"
#include "engine/host/abi_read.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {
namespace {

namespace json = boost::json;

constexpr int max_depth = 32;

// Not guessable, so that a handle that got into a log or a config dump of another instance opens nothing.
std::string make_handle() {
    std::random_device random;
    std::string out = "callgate-secret:";
    constexpr std::string_view digits = "0123456789abcdef";
    for (int i = 0; i < 4; ++i) {
        auto word = random();
        for (int n = 0; n < 8; ++n, word >>= 4) out.push_back(digits[word & 15]);
    }
    return out;
}

bool is_variable(std::string_view name) {
    return !name.empty() && !(name.front() >= '0' && name.front() <= '9') && std::all_of(name.begin(), name.end(), [](char c) {
        return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    });
}

// Walks schema and value together.
class sealer {
  public:
    sealer(const json::value& schema, secret_vault& vault, const std::string& base_dir) : root_(schema), vault_(vault), base_dir_(base_dir) {}

    result<void> run(json::value& value) { return visit(root_, value, {}, 0); }

  private:
    result<void> visit(const json::value& schema, json::value& value, const std::string& at, int depth) {
        if (depth > max_depth) return make_error(errc::invalid, "the schema is nested too deeply", at);
        const auto* s = schema.if_object();
        if (s == nullptr) return {};
        if (const auto* marked = s->if_contains("x-callgate-secret"); marked != nullptr && marked->is_bool() && marked->get_bool())
            return seal(value, at);
        if (const auto* ref = s->if_contains("$ref"); ref != nullptr && ref->is_string() && ref->get_string().starts_with("#")) {
            json::error_code ec;
            if (const auto* target = root_.find_pointer(std::string_view(ref->get_string()).substr(1), ec))
                if (auto r = visit(*target, value, at, depth + 1); !r) return r;
        }
        for (const auto* word : {"allOf", "anyOf", "oneOf"})
            if (const auto* list = s->if_contains(word); list != nullptr && list->is_array())
                for (const auto& one : list->get_array())
                    if (auto r = visit(one, value, at, depth + 1); !r) return r;
        if (auto* members = value.if_object()) {
            const auto* properties = s->if_contains("properties");
            const auto* others = s->if_contains("additionalProperties");
            for (auto& m : *members) {
                const json::value* inner = properties != nullptr && properties->is_object() ? properties->get_object().if_contains(m.key()) : nullptr;
                if (inner == nullptr) inner = others;
                if (inner == nullptr) continue;
                if (auto r = visit(*inner, m.value(), (at.empty() ? "" : at + ".") + std::string(m.key()), depth + 1); !r) return r;
            }
        } else if (auto* items = value.if_array()) {
            const auto* inner = s->if_contains("items");
            for (std::size_t i = 0; inner != nullptr && i < items->size(); ++i)
                if (auto r = visit(*inner, (*items)[i], at + "[" + std::to_string(i) + "]", depth + 1); !r) return r;
        }
        return {};
    }

    result<void> seal(json::value& value, const std::string& at) {
        if (value.is_null()) return {};
        const auto* text = value.if_string();
        if (text == nullptr) return make_error(errc::invalid, "is a secret and must be a text: ${NAME} or file:PATH", at);
        // Two branches of the schema may mark the same place.
        if (std::find(sealed_.begin(), sealed_.end(), std::string_view(*text)) != sealed_.end()) return {};
        auto handle = vault_.add(std::string(*text), at, base_dir_);
        if (!handle) return handle.error();
        sealed_.push_back(*handle);
        value = json::string(*handle);
        return {};
    }

    const json::value& root_;
    secret_vault& vault_;
    const std::string& base_dir_;
    std::vector<std::string> sealed_;
};

}  // namespace

result<crypto::secret> secret_vault::from_file(const std::string& path) const {
    auto read = reader_(path);
    if (!read) return read;
    auto size = read->size();
    const auto* bytes = read->data();
    if (size != 0 && bytes[size - 1] == '\n') --size;
    if (size != 0 && size != read->size() && bytes[size - 1] == '\r') --size;
    if (size == 0) return make_error(errc::invalid, "holds an empty secret", path);
    if (size > CG_SECRET_MAX_BYTES) return make_error(errc::invalid, "holds more than 64 KiB", path);
    return size == read->size() ? std::move(*read) : crypto::secret::copy_of(std::span<const std::uint8_t>(bytes, size));
}

result<std::string> secret_vault::add(const std::string& reference, const std::string& key, const std::string& base_dir) {
    entry e{key, {}, {}};
    if (reference.starts_with("file:") && reference.size() > 5) {
        const std::filesystem::path path(reference.substr(5));
        e.path = (path.is_absolute() ? path : std::filesystem::path(base_dir) / path).lexically_normal().string();
        auto value = from_file(e.path);
        if (!value) return make_error(value.error().code, value.error().message(), key);
        e.value = std::move(*value);
    } else if (reference.size() > 3 && reference.starts_with("${") && reference.ends_with("}") &&
               is_variable(std::string_view(reference).substr(2, reference.size() - 3))) {
        const auto name = reference.substr(2, reference.size() - 3);
        const char* value = std::getenv(name.c_str());
        if (value == nullptr || *value == '\0') return make_error(errc::not_found, "environment variable " + name + " is not set", key);
        const std::string_view text(value);
        if (text.size() > CG_SECRET_MAX_BYTES) return make_error(errc::invalid, "environment variable " + name + " holds more than 64 KiB", key);
        e.value = crypto::secret::copy_of(text);
    } else {
        // The text may be the secret itself, so it is not repeated.
        return make_error(errc::invalid, "is a secret and does not belong into the configuration; write ${NAME} for a variable of the environment or file:PATH", key);
    }
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= CG_SECRETS_MAX) return make_error(errc::invalid, "is one secret too many; at most 256", key);
    auto handle = make_handle();
    entries_.emplace(handle, std::move(e));
    return handle;
}

cg_status secret_vault::read(std::string_view handle, cg_outbuf& out) const {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(handle);
    if (it == entries_.end()) return CG_E_NOT_FOUND;
    const auto& value = it->second.value;
    out.size = value.size();
    if (value.size() > out.cap || out.data == nullptr) return CG_E_NOSPC;
    std::memcpy(out.data, value.data(), value.size());
    return CG_OK;
}

std::vector<std::string> secret_vault::reread() {
    std::vector<std::pair<std::string, std::string>> files;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [handle, e] : entries_)
            if (!e.path.empty()) files.emplace_back(handle, e.path);
    }
    std::vector<std::string> changed;
    for (const auto& [handle, path] : files) {
        auto value = from_file(path);
        const std::lock_guard lock(mutex_);
        auto& e = entries_.find(handle)->second;
        if (!value) {
            log::warn("secret cannot be read again; its old value stays in use", {{"key", e.key}, {"reason", value.error().message()}});
            continue;
        }
        if (e.value.equals(value->bytes())) continue;
        e.value = std::move(*value);
        changed.push_back(handle);
    }
    return changed;
}

std::size_t secret_vault::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

result<sealed_config> seal_secrets(const std::string& schema_json, const std::string& config_json, const std::string& base_dir,
                                   secret_reader reader) {
    sealed_config out{config_json, nullptr};
    if (schema_json.find("x-callgate-secret") == std::string::npos) return out;
    json::parse_options options;
    options.max_depth = 72;
    json::error_code ec;
    const auto schema = json::parse(schema_json, ec, {}, options);
    if (ec) return make_error(errc::invalid, "the plugin's schema is not JSON: " + ec.message());
    auto value = json::parse(config_json.empty() ? "{}" : config_json, ec, {}, options);
    if (ec) return make_error(errc::invalid, "is not JSON: " + ec.message());
    auto vault = std::make_shared<secret_vault>(std::move(reader));
    if (auto r = sealer(schema, *vault, base_dir).run(value); !r) return r.error();
    if (vault->size() == 0) return out;
    out.config_json = json::serialize(value);
    out.secrets = std::move(vault);
    return out;
}

cg_status secret_service::read(std::string_view handle, cg_outbuf& out) const {
    out.size = 0;
    return vault_ ? vault_->read(handle, out) : CG_E_NOT_FOUND;
}

cg_status secret_service::on_change(void (*changed)(void*, cg_str), void* ctx) {
    changed_ = changed;
    ctx_ = ctx;
    return CG_OK;
}

void secret_service::reread() {
    if (!vault_ || closed_) return;
    for (const auto& handle : vault_->reread())
        if (changed_ != nullptr && !closed_) changed_(ctx_, to_c(handle));
}

const cg_secrets_api secret_service::api = {
    sizeof(cg_secrets_api), 0,
    [](const cg_host* host, cg_str handle, cg_outbuf* out) noexcept -> cg_status {
        return out == nullptr ? CG_E_INVALID : services::of(host).secrets().read(view(handle), *out);
    },
    [](const cg_host* host, void (*changed)(void*, cg_str), void* ctx) noexcept -> cg_status {
        return services::of(host).secrets().on_change(changed, ctx);
    }};

}  // namespace callgate::host
