# cmake --install and packages: programs find each other beside themselves (find_program()), Python packages beside their
# scripts, so that a prefix may be anywhere and have any name.
include(GNUInstallDirs)
set(share ${CMAKE_INSTALL_DATADIR}/ublkbench)

set(programs ublkbench ublk-server ublk-load)
if(UBLKBENCH_PROBES)
  list(APPEND programs ublk-probe)
endif()
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# install_python(PACKAGE PROGRAM): the folder of a package with its program beside it, and a link to that one in bin.
function(install_python package program)
  get_filename_component(folder ${package} DIRECTORY)
  install(DIRECTORY ${package} DESTINATION ${share}/${folder} PATTERN __pycache__ EXCLUDE)
  install(PROGRAMS ${folder}/${program} DESTINATION ${share}/${folder})
  file(RELATIVE_PATH target "/${CMAKE_INSTALL_BINDIR}" "/${share}/${folder}/${program}")
  set(link ${PROJECT_BINARY_DIR}/links/${program})
  file(CREATE_LINK ${target} ${link} SYMBOLIC)
  install(FILES ${link} DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/links)
install_python(drgn/ublk_drgn ublk-dump)
install_python(reports/ublk_report ublk-report)
install(FILES bench/record/schema/run.schema.json DESTINATION ${share}/schema)
file(GLOB bpftrace_scripts CONFIGURE_DEPENDS probes/bt/*.bt)
install(PROGRAMS ${bpftrace_scripts} DESTINATION ${share}/bt)

# Compressed, as distributions want them; man reads them so.
install(CODE "
  file(GLOB pages \"${PROJECT_BINARY_DIR}/manual/*.[157]\")
  foreach(page \${pages})
    get_filename_component(name \"\${page}\" NAME)
    string(REGEX MATCH \"[157]$\" section \"\${name}\")
    set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man\${section}\")
    file(MAKE_DIRECTORY \"\${folder}\")
    message(STATUS \"Installing: \${folder}/\${name}.gz\")
    execute_process(COMMAND gzip -9nc \"\${page}\" OUTPUT_FILE \"\${folder}/\${name}.gz\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()")
set(completions ${PROJECT_BINARY_DIR}/completions)
install(DIRECTORY ${completions}/bash/ DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(DIRECTORY ${completions}/zsh/ DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(DIRECTORY ${completions}/fish/ DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# Where the prefix is is known when it is installed.
set(package_folder ${PROJECT_SOURCE_DIR}/cmake/package)
foreach(destination_and_file
    lib/systemd/system:ublk-server@.service lib/udev/rules.d:60-ublk-owner.rules)
  string(REPLACE ":" ";" pair ${destination_and_file})
  list(GET pair 0 destination)
  list(GET pair 1 name)
  set(made ${PROJECT_BINARY_DIR}/package/${name})
  install(CODE "
    set(PROGRAM_FOLDER \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
    set(CONFIG_FOLDER /etc/ublkbench)
    configure_file(\"${package_folder}/${name}.in\" \"${made}\" @ONLY)")
  install(FILES ${made} DESTINATION ${destination})
endforeach()

install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.png")
install(FILES ${package_folder}/61-ublk-control.rules DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
