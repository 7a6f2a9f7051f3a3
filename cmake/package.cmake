# The Debian package, made by 'scripts/vm package'. debhelper would want a folder debian/ and its own build; CPack packs
# what 'cmake --install' installs, and nothing else.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME ublkbench)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_SOURCE_DIR}/build/packages)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "benchmarks and diagnostics for ublk, the userspace block driver")
set(CPACK_PACKAGE_DESCRIPTION
"ublkbench measures the modes of Linux's userspace block driver against each
other and judges ublk servers of any make. With it come a reference server
(ublk-server), a load generator (ublk-load), BPF probes (ublk-probe), a hang
analyser (ublk-dump) and reports (ublk-report).")
# The names that Debian's own tools take; else who made the last commit.
find_package(Git)
if(DEFINED ENV{DEBFULLNAME} AND DEFINED ENV{DEBEMAIL})
  set(CPACK_PACKAGE_CONTACT "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
elseif(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} log -1 "--format=%an <%ae>" WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    OUTPUT_VARIABLE CPACK_PACKAGE_CONTACT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT CPACK_PACKAGE_CONTACT)
  set(CPACK_PACKAGE_CONTACT "The ublkbench authors <root@localhost>")
endif()
# Not a relocatable archive: unit and rule name /usr/bin.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS python3)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3-drgn, python3-jinja2, python3-matplotlib, python3-numpy, python3-jsonschema")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bpftrace, fio")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${package_folder}/postinst ${package_folder}/prerm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# What Debian asks for beside the documentation, compressed as it asks.
set(changelog ${PROJECT_BINARY_DIR}/package/changelog)
set(date "Thu, 01 Jan 1970 00:00:00 +0000")
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} log -1 --format=%aD WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(WRITE ${changelog} "ublkbench (${PROJECT_VERSION}) unstable; urgency=medium\n\n  * The history is in the git \
repository.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
execute_process(COMMAND gzip -9nc ${changelog} OUTPUT_FILE ${changelog}.gz)
install(FILES ${changelog}.gz ${package_folder}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
include(CPack)
