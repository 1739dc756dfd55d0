#pragma once
// Matrix products through oneDNN, as plain C. Builds with oneDNN 2.x and 3.x.
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    /// Row major, `stride` elements from row to row.
    COSMOS_DNNL_PLAIN,
    /// The same, read as its transpose.
    COSMOS_DNNL_TRANSPOSED,
    /// As `cosmos_dnnl_pack` left it; a right operand only.
    COSMOS_DNNL_PACKED,
} cosmos_dnnl_layout;

/// The type of both operands.
typedef enum { COSMOS_DNNL_F32, COSMOS_DNNL_BF16 } cosmos_dnnl_type;

/// One operand of a product.
typedef struct {
    const void *data;
    int64_t stride;
    cosmos_dnnl_layout layout;
} cosmos_dnnl_operand;

/// Bytes of a k x n right operand as its products like it best: panels of 64 columns, one after the other, the last
/// padded, each with its rows one after the other (bfloat16: in pairs), their number rounded up to 16 (32). Float32: 0
/// where oneDNN packs none on this CPU.
int64_t cosmos_dnnl_packed_bytes(cosmos_dnnl_type type, int64_t k, int64_t n);

/// Brings a k x n float32 matrix (`transposed`: stored as its transpose) into that layout, rounded to `type`.
/// Returns NULL, or what oneDNN had to say.
const char *cosmos_dnnl_pack(
    cosmos_dnnl_type type, int64_t k, int64_t n, const float *values, int64_t stride, bool transposed, void *packed);

/// C (m x n, row major, `stride` elements from row to row) = a b + beta C, with float32 accumulation,
/// on the calling thread alone. C holds bfloat16 with `bf16_output`, else float32; it is not read with
/// `beta` 0. Beside a packed b, C has no gaps between its rows. Returns NULL, or what oneDNN had to say.
const char *cosmos_dnnl_multiply(
    cosmos_dnnl_type type, int64_t m, int64_t n, int64_t k, cosmos_dnnl_operand a, cosmos_dnnl_operand b, void *c,
    int64_t stride, bool bf16_output, float beta);

/// The shapes of products for which the calling thread keeps what oneDNN made.
int64_t cosmos_dnnl_shape_count(void);

/// Whether oneDNN has bfloat16 instructions to use: the CPU's, unless ONEDNN_MAX_CPU_ISA forbids them.
bool cosmos_dnnl_has_bf16(void);

/// "3.4.2".
const char *cosmos_dnnl_version(void);

#ifdef __cplusplus
}
#endif
