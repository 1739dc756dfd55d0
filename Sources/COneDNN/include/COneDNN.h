#pragma once
// bfloat16 matrix products through oneDNN, as plain C. Builds with oneDNN 2.x and 3.x.
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// One row-major operand: `stride` elements from row to row; `transposed` reads it as its transpose.
typedef struct {
    const uint16_t *data;
    int64_t stride;
    bool transposed;
} cosmos_dnnl_operand;

/// C (m x n, row major, `stride` elements from row to row) = a b + beta C, with float32 accumulation,
/// on the calling thread alone. C holds bfloat16 with `bf16_output`, else float32; it is not read with
/// `beta` 0. Returns NULL, or what oneDNN had to say.
const char *cosmos_dnnl_multiply(
    int64_t m, int64_t n, int64_t k, cosmos_dnnl_operand a, cosmos_dnnl_operand b, void *c, int64_t stride,
    bool bf16_output, float beta);

/// "3.4.2".
const char *cosmos_dnnl_version(void);

#ifdef __cplusplus
}
#endif
