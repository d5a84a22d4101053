# SPDX-License-Identifier: Apache-2.0
# The configuration loader: everything `callgate check` and `callgate policy test` need, without plugins,
# sockets or servers.
set(here ${CMAKE_CURRENT_LIST_DIR})
add_library(callgate_config STATIC ${here}/config.cpp ${here}/config_sections.cpp ${here}/config_nats.cpp ${here}/config_checks.cpp
  ${here}/config_references.cpp ${here}/config_schema.cpp ${here}/policy_test_file.cpp)
target_include_directories(callgate_config PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(callgate_config PUBLIC callgate_abi callgate_policy Boost::json PRIVATE fmt::fmt)

callgate_room_test(NAME engine_config LIBS callgate_config fmt::fmt
  SOURCES ${here}/config_test.cpp ${here}/config_faults_test.cpp ${here}/config_modules_test.cpp ${here}/config_schema_test.cpp ${here}/config_uses_test.cpp ${here}/policy_test_file_test.cpp)
target_compile_definitions(engine_config_test PRIVATE CALLGATE_CONFIGS="${CMAKE_SOURCE_DIR}/configs")
callgate_fuzz(NAME config_text SOURCE ${here}/fuzz_config.cpp CORPUS ${here}/corpus/config LIBS callgate_config)
