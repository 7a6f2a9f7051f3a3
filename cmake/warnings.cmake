# One interface target carries what every target of ours is compiled with.
add_library(ublkbench_options INTERFACE)
target_compile_options(ublkbench_options INTERFACE
  -Wall -Wextra -Wno-missing-field-initializers -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Werror
  -fno-omit-frame-pointer)
target_include_directories(ublkbench_options INTERFACE ${PROJECT_SOURCE_DIR})
# liburing's inline helpers and the kernel's uapi headers are system headers: no warnings of theirs.
if(UBLKBENCH_GLIBCXX_ASSERTIONS)
  target_compile_definitions(ublkbench_options INTERFACE _GLIBCXX_ASSERTIONS)
endif()
if(UBLKBENCH_SANITIZE)
  # At a fixed address: UBSan's type descriptors are two million relocations otherwise, which each
  # start of a program pays for, and the tests start thousands.
  target_compile_options(ublkbench_options INTERFACE
    -fsanitize=${UBLKBENCH_SANITIZE} -fno-sanitize-recover=all -O1 -g1 -fno-pie)
  target_link_options(ublkbench_options INTERFACE -fsanitize=${UBLKBENCH_SANITIZE} -no-pie)
endif()

# ublkbench_library(NAME SOURCES... DEPENDS...): a static library that may use only what it names.
function(ublkbench_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC ${arg_DEPENDS} PRIVATE ublkbench_options)
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
endfunction()

# ublkbench_in_few_units(TARGET SIZE): compiles up to SIZE source files as one. For what is not measured and includes
# JSON, CLI11 or simdjson everywhere: those headers and their templates cost more than our code, so files by themselves
# take five times as long. Names in unnamed namespaces are then one file's too: the compiler says where two meet.
function(ublkbench_in_few_units target size)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE BATCH UNITY_BUILD_BATCH_SIZE ${size})
endfunction()
