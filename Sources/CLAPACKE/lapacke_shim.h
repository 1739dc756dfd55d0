#pragma once
// C++'s complex types are of no use here; these macros keep LAPACKE's header to plain C types.
#define lapack_complex_float float _Complex
#define lapack_complex_double double _Complex
#include <lapacke.h>
