# SPDX-License-Identifier: Apache-2.0
"""How this build was made, as its compilers report it."""

cdef extern from *:
    """
    #if defined(__clang__)
    #define CXN_COMPILER "Clang " __clang_version__
    #elif defined(__GNUC__)
    #define CXN_COMPILER "GCC " __VERSION__
    #elif defined(_MSC_VER)
    #define CXN_STRING_(x) #x
    #define CXN_STRING(x) CXN_STRING_(x)
    #define CXN_COMPILER "MSVC " CXN_STRING(_MSC_VER)
    #else
    #define CXN_COMPILER "unknown"
    #endif
    #if defined(__OPTIMIZE__) || defined(_MSC_VER)
    #define CXN_OPTIMIZED 1
    #else
    #define CXN_OPTIMIZED 0
    #endif
    """
    const char *CXN_COMPILER
    bint CXN_OPTIMIZED
    const char *CYTHON_ABI


def build_info() -> dict[str, str]:
    """Compilers and switches of this build."""
    return {
        "compiler": CXN_COMPILER.decode() + ("" if CXN_OPTIMIZED else ", not optimised"),
        "cython": CYTHON_ABI.decode().replace("_", "."),
    }
