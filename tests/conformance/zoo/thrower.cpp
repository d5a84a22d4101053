// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
extern "C" void zoo_throw();
void zoo_throw() { throw std::runtime_error("the directory is down"); }
