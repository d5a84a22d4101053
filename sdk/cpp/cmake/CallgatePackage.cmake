# SPDX-License-Identifier: Apache-2.0
# `cmake --install BUILD --component sdk --prefix P` gives third parties all they need to write a plugin: headers, the
# CMake package, documents, templates, `callgate`, `callgate-plugin-check`, the bundled plugins. P may be moved
# afterwards. Included last, since it installs targets of every room.
if(NOT TARGET callgate_abi)
  return()  # the room sdk is not built
endif()
include(CMakePackageConfigHelpers)

# The package's version is the ABI's.
file(STRINGS ${CMAKE_SOURCE_DIR}/sdk/abi/include/callgate/abi/base.h abi_lines REGEX "#define CG_ABI_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*CG_ABI_MAJOR ([0-9]+)u.*CG_ABI_MINOR ([0-9]+)u.*" "\\1.\\2.0" abi_version "${abi_lines}")
if(NOT abi_version MATCHES "^[0-9]+\\.[0-9]+\\.0$")
  message(FATAL_ERROR "sdk/abi/include/callgate/abi/base.h: cannot read CG_ABI_MAJOR and CG_ABI_MINOR")
endif()
# Nothing in it depends on the machine, so it is under share/, and the folders are called the same on every system.
set(package_dir share/cmake/callgate-sdk)
set(sdk_bin_dir bin)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/callgate-sdk-config.cmake.in
  ${CMAKE_BINARY_DIR}/callgate-sdk-config.cmake INSTALL_DESTINATION ${package_dir} PATH_VARS sdk_bin_dir)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/callgate-sdk-config-version.cmake
  VERSION ${abi_version} COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)

install(TARGETS callgate_abi callgate_sdk_cpp EXPORT callgate-sdk-targets COMPONENT sdk)
install(EXPORT callgate-sdk-targets NAMESPACE callgate:: DESTINATION ${package_dir} COMPONENT sdk)
install(FILES ${CMAKE_BINARY_DIR}/callgate-sdk-config.cmake ${CMAKE_BINARY_DIR}/callgate-sdk-config-version.cmake
  ${CMAKE_CURRENT_LIST_DIR}/CallgatePlugin.cmake ${CMAKE_CURRENT_LIST_DIR}/plugin.map
  ${CMAKE_SOURCE_DIR}/sdk/check/cmake/CallgateConformance.cmake
  DESTINATION ${package_dir} COMPONENT sdk)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sdk/abi/include/ ${CMAKE_SOURCE_DIR}/sdk/cpp/include/
  DESTINATION include COMPONENT sdk)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sdk/docs/ DESTINATION share/callgate/docs COMPONENT sdk)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sdk/template ${CMAKE_SOURCE_DIR}/sdk/examples
  DESTINATION share/callgate COMPONENT sdk USE_SOURCE_PERMISSIONS PATTERN target EXCLUDE)
# For bindings to other languages: they test their layout against this.
install(FILES ${CMAKE_SOURCE_DIR}/tests/abi/layout.golden DESTINATION share/callgate/abi COMPONENT sdk)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION share/callgate COMPONENT sdk)
# All of the package that has to be built.
add_custom_target(sdk_package)
foreach(tool callgate callgate-plugin-check)
  if(TARGET ${tool})
    add_dependencies(sdk_package ${tool})
    install(TARGETS ${tool} RUNTIME DESTINATION bin COMPONENT sdk)
  endif()
endforeach()
# Where the daemon looks, seen from its own folder.
if(plugins IN_LIST CALLGATE_ROOMS)
  get_property(folders DIRECTORY ${CMAKE_SOURCE_DIR}/plugins PROPERTY SUBDIRECTORIES)
  foreach(folder IN LISTS folders)
    get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target IN LISTS targets)
      get_target_property(type ${target} TYPE)
      if(type STREQUAL "MODULE_LIBRARY")
        add_dependencies(sdk_package ${target})
        install(TARGETS ${target} LIBRARY DESTINATION lib/callgate/plugins COMPONENT sdk)
      endif()
    endforeach()
  endforeach()
endif()
# The build tree has the shape of a prefix as far as `callgate plugin new` looks.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/callgate)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/sdk/template ${CMAKE_BINARY_DIR}/share/callgate/template SYMBOLIC)
