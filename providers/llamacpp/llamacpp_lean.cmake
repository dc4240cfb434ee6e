# What llama.cpp's own programs have in common takes more than half of the time to compile, and nothing
# of it is used from Python. llama-cpp-python asks for it in CMake's cache; this comes before that.
set(LLAMA_BUILD_COMMON OFF)
