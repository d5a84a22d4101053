// SPDX-License-Identifier: Apache-2.0
#include "sdk/examples/test/module.hpp"

#include <callgate/sdk/value.hpp>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <sys/stat.h>

namespace callgate::sdk::test {

const cg_factory& only_factory(const std::string& file) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    const auto entry = reinterpret_cast<cg_plugin_entry_fn>(dlsym(library, CG_ENTRY_SYMBOL));
    if (entry == nullptr) throw std::runtime_error(file + " has no entry");
    auto host = make<cg_negotiation>();
    const cg_manifest* manifest = nullptr;
    host.abi_major = CG_ABI_MAJOR + 1;
    if (entry(&host, &manifest) != CG_E_ABI) throw std::runtime_error(file + " takes a foreign major version");
    host.abi_major = CG_ABI_MAJOR;
    if (entry(&host, &manifest) != CG_OK || manifest->factory_count != 1) throw std::runtime_error(file + " has not one factory");
    return *manifest->factories[0];
}

temp_folder::temp_folder() : path_((std::filesystem::temp_directory_path() / "callgate_example_XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
}
temp_folder::~temp_folder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
}
void temp_folder::write(const std::string& name, const std::string& text, mode_t mode) const {
    const auto file = path_ + "/" + name;
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
    ::chmod(file.c_str(), mode);
}

}  // namespace callgate::sdk::test
