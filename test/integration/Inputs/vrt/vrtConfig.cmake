# The stand-in for SLASH's runtime as CMake finds it; its regions of HBM are small, so that an image takes several.
add_library(vrt::vrt INTERFACE IMPORTED)
target_include_directories(vrt::vrt INTERFACE ${CMAKE_CURRENT_LIST_DIR})
target_compile_definitions(vrt::vrt INTERFACE LUTLLM_HBM_REGION=0x4000)
target_compile_options(vrt::vrt INTERFACE -Wall -Wextra -Werror)
