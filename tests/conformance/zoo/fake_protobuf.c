/* SPDX-License-Identifier: Apache-2.0
 * Has the name of the protobuf runtime and nothing of it. */
__attribute__((visibility("default"))) int zoo_fake_protobuf(void) { return 1; }
