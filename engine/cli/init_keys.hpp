// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/nkey.hpp>
#include <map>
#include <string>
#include <vector>

#include "engine/cli/folder.hpp"
#include "engine/cli/init_plan.hpp"

/// The secrets of a deployment: seeds and passwords, one 0600 file each under keys/. They are made once,
/// read back ever after, and never overwritten.
namespace callgate::cli {

struct key_spec {
    std::string label;  ///< "auth-signing": the file is keys/<label>.nk
    nats::key_type type;
    std::string purpose;
};
/// Passwords of static users (config mode) and of the example user of auth_static.
struct password_spec {
    std::string label;  ///< "callout": the file is keys/<label>.password
    std::string purpose;
};

struct key_inventory {
    std::vector<key_spec> keys;
    std::vector<password_spec> passwords;
};
/// Everything the plan needs; labels are unique, also across accounts of unfortunate names.
[[nodiscard]] result<key_inventory> inventory_of(const init_plan& plan);

[[nodiscard]] std::string key_file_of(const std::string& label);
[[nodiscard]] std::string password_file_of(const std::string& label);
/// "APP" -> "app": the label its keys start with.
[[nodiscard]] std::string label_of_account(const std::string& account);

struct key_ring {
    std::map<std::string, nats::key_pair> keys;
    std::map<std::string, crypto::secret> passwords;
    std::vector<std::string> made;  ///< files of this run

    [[nodiscard]] const nats::key_pair& key(const std::string& label) const { return keys.at(label); }
    [[nodiscard]] const std::string& id(const std::string& label) const { return keys.at(label).public_text(); }
    [[nodiscard]] std::string_view password(const std::string& label) const { return passwords.at(label).text(); }
};

/// Reads what is there and makes what is missing. `may_make` false (derived files exist): a missing one is
/// an error, since everything made of it would not fit any more.
[[nodiscard]] result<key_ring> load_or_make_keys(folder& where, const key_inventory& wanted, bool may_make);

}  // namespace callgate::cli
