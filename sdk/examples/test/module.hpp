// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/entry.h>

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace callgate::sdk::test {

/// Loads a plugin as a host does (never unloaded) and gives its only factory. Throws std::runtime_error.
const cg_factory& only_factory(const std::string& file);

/// A folder of this test's own, gone at the end.
class temp_folder {
  public:
    temp_folder();
    ~temp_folder();
    temp_folder(const temp_folder&) = delete;
    temp_folder& operator=(const temp_folder&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    void write(const std::string& name, const std::string& text, mode_t mode = 0600) const;

  private:
    std::string path_;
};

}  // namespace callgate::sdk::test
