// SPDX-License-Identifier: Apache-2.0
#include "plugins/key_file/key_file.hpp"

#include <callgate/crypto/box.hpp>
#include <callgate/crypto/sign_batch.hpp>
#include <callgate/sdk/config.hpp>

#include <array>

#include "plugins/key_file/seed_file.hpp"

namespace callgate::key_file {
namespace {

constexpr std::uint32_t max_batch = 64;
constexpr std::uint32_t max_in_flight = 16;
constexpr std::size_t max_keys = 256;
constexpr std::size_t page_size = 32;

constexpr std::uint32_t bit(std::uint32_t purpose) noexcept { return purpose < 32 ? 1u << purpose : 0u; }

}  // namespace

bool may_sign(nats::key_type type, std::uint32_t purpose) noexcept {
    std::uint32_t allowed = 0;
    switch (type) {
        case nats::key_type::operator_:
            allowed = bit(CG_SIGN_ACCOUNT_JWT) | bit(CG_SIGN_OPERATOR_JWT) | bit(CG_SIGN_GENERIC);
            break;
        case nats::key_type::account:
            allowed = bit(CG_SIGN_USER_JWT) | bit(CG_SIGN_AUTH_RESPONSE) | bit(CG_SIGN_ACTIVATION) | bit(CG_SIGN_GENERIC);
            break;
        case nats::key_type::user: allowed = bit(CG_SIGN_NONCE) | bit(CG_SIGN_GENERIC); break;
        case nats::key_type::server:
        case nats::key_type::cluster: allowed = bit(CG_SIGN_GENERIC); break;
        case nats::key_type::curve: break;
    }
    return (allowed & bit(purpose)) != 0;
}

std::unique_ptr<sdk::key_provider> provider::create(sdk::host_ref host, const sdk::create_args& args) {
    const auto config = sdk::config_view::parse(args.config_json);
    config.only({"files"});
    std::vector<named_file> files;
    for (const auto& [label, path] : config.at("files").members()) {
        if (path.string().empty()) path.fail("the path is empty");
        files.push_back({label, args.resolve(path.string())});
    }
    if (files.empty() || files.size() > max_keys) config.at("files").fail("must name 1 to 256 files");
    return std::make_unique<provider>(host, std::move(files));
}

provider::provider(sdk::host_ref host, std::vector<named_file> files)
    : key_provider(host, max_batch, max_in_flight),
      files_(std::move(files)),
      refused_purpose_(host, "signatures_refused_total", "Signatures not made.", {{"reason", "purpose"}}),
      refused_key_(host, "signatures_refused_total", "Signatures not made.", {{"reason", "unknown_key"}}) {}

void provider::start(sdk::op_handle&& op) {
    crypto::init();
    keys_.reserve(files_.size());
    for (const auto& f : files_) {
        auto pair = read_seed_file(f.label, f.path);
        host().log(sdk::log_level::info, "key loaded", {{"label", f.label}, {"nkey", pair.public_text()}, {"file", f.path}});
        keys_.push_back({f.label, std::move(pair)});
    }
    op.succeed();
}

const provider::loaded_key* provider::find(cg_key key) const noexcept {
    return key >= 1 && key <= keys_.size() ? &keys_[key - 1] : nullptr;
}

void provider::list_keys(sdk::op_handle&& op, std::span<const std::uint8_t> from) {
    std::uint32_t first = 0;
    if (!from.empty()) {
        if (from.size() != sizeof first) throw sdk::status_error(CG_E_INVALID, "not a position that this provider gave out");
        std::memcpy(&first, from.data(), sizeof first);
        if (first > keys_.size()) throw sdk::status_error(CG_E_INVALID, "not a position that this provider gave out");
    }
    const std::size_t last = std::min<std::size_t>(keys_.size(), first + page_size);
    std::vector<cg_key_info> infos;
    for (std::size_t i = first; i < last; ++i) {
        const auto& k = keys_[i];
        auto info = sdk::make<cg_key_info>();
        info.algorithm = k.pair.type() == nats::key_type::curve ? CG_KEY_X25519 : CG_KEY_ED25519;
        info.key = i + 1;
        info.nkey = sdk::to_c(k.pair.public_text());
        info.label = sdk::to_c(k.label);
        info.generation = 1;
        infos.push_back(info);
    }
    auto page = sdk::make<cg_key_page>();
    page.stride = sizeof(cg_key_info);
    page.keys = infos.data();
    page.count = infos.size();
    const auto next = static_cast<std::uint32_t>(last);
    if (last < keys_.size()) page.next = {reinterpret_cast<const std::uint8_t*>(&next), sizeof next};
    op.succeed(&page);
}

void provider::sign(sdk::shard_state*, sdk::op_handle&& op, const sdk::sign_batch_view& batch) {
    if (!batch.valid()) throw sdk::status_error(CG_E_ABI, "the items of this batch are shorter than version 1.0 of the ABI");
    if (batch.size() > max_batch) throw sdk::status_error(CG_E_INVALID, "more items than this provider's max_batch of 64");
    std::array<crypto::sign_item, max_batch> work;
    std::array<std::size_t, max_batch> place;
    std::size_t count = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        auto& item = batch[i];
        const auto* key = find(item.key);
        if (key == nullptr) {
            item.status = CG_E_NOT_FOUND;
            refused_key_.add();
        } else if (!may_sign(key->pair.type(), item.purpose)) {
            item.status = CG_E_PERMISSION;
            refused_purpose_.add();
            host().log(sdk::log_level::error, "refused to sign: this kind of key does not make such signatures",
                       {{"label", key->label}, {"key_kind", nats::to_string(key->pair.type())}, {"purpose", std::to_string(item.purpose)}});
        } else if (item.signature == nullptr) {
            item.status = CG_E_INVALID;
        } else {
            work[count] = {key->pair.signer(), sdk::view(item.message), item.signature};
            place[count++] = i;
        }
    }
    crypto::sign_batch({work.data(), count});
    for (std::size_t i = 0; i < count; ++i) batch[place[i]].status = work[i].made ? CG_OK : CG_E_INTERNAL;
    op.succeed();
}

void provider::export_shared(sdk::shard_state*, sdk::op_handle&& op, cg_key key, std::span<const std::uint8_t> peer) {
    const auto* k = find(key);
    if (k == nullptr) throw sdk::status_error(CG_E_NOT_FOUND, "no key with this handle");
    if (k->pair.type() != nats::key_type::curve) throw sdk::status_error(CG_E_INVALID, "key \"" + k->label + "\" is not an xkey");
    crypto::key_bytes peer_key{};
    if (peer.size() != peer_key.size()) throw sdk::status_error(CG_E_INVALID, "a curve key has 32 bytes");
    std::copy(peer.begin(), peer.end(), peer_key.begin());
    const auto shared = crypto::agree(k->pair.raw_seed().first<32>(), peer_key);
    if (!shared) throw sdk::status_error(CG_E_INVALID, "the peer's curve key is of low order");
    auto out = sdk::make<cg_shared_key>();
    std::copy_n(shared->data(), sizeof out.key, out.key);
    op.succeed(&out);
    crypto::wipe(&out, sizeof out);
}

}  // namespace callgate::key_file
