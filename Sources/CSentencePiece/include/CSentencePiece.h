#pragma once
// SentencePiece behind C functions: Swift's C++ interoperability cannot import its header.
// No exception leaves a function. A function that fails says so by its result, and
// cosmos_sentencepiece_error() then holds the reason for the thread that called it.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cosmos_sentencepiece cosmos_sentencepiece;

/// Why the last call of this thread failed; never NULL.
const char *cosmos_sentencepiece_error(void);

/// A model from the bytes of a `.model` file; NULL if they are none.
cosmos_sentencepiece *cosmos_sentencepiece_load(const void *bytes, size_t count);
void cosmos_sentencepiece_free(cosmos_sentencepiece *model);

int32_t cosmos_sentencepiece_size(const cosmos_sentencepiece *model);
/// The ids of the special pieces, -1 where the model has none.
int32_t cosmos_sentencepiece_unknown_id(const cosmos_sentencepiece *model);
int32_t cosmos_sentencepiece_begin_id(const cosmos_sentencepiece *model);
int32_t cosmos_sentencepiece_end_id(const cosmos_sentencepiece *model);
int32_t cosmos_sentencepiece_pad_id(const cosmos_sentencepiece *model);

/// The piece of `id` (0 ..< size), valid as long as the model.
const char *cosmos_sentencepiece_piece(const cosmos_sentencepiece *model, int32_t id, size_t *length);
/// The id of a piece, the unknown id if it is none.
int32_t cosmos_sentencepiece_id(const cosmos_sentencepiece *model, const char *piece, size_t length);

/// The ids of UTF-8 text, or NULL. They belong to the calling thread and last until its next call.
/// Any number of threads may encode with one model at the same time.
const int32_t *cosmos_sentencepiece_encode(
    const cosmos_sentencepiece *model, const char *text, size_t length, size_t *count);
/// The text of ids (each in 0 ..< size), or NULL; owned as above.
const char *cosmos_sentencepiece_decode(
    const cosmos_sentencepiece *model, const int32_t *ids, size_t count, size_t *length);

/// Gives the next sentence: 1 and its bytes, valid until the next call; 0 at the end; -1 on failure.
typedef int (*cosmos_next_sentence)(void *context, const char **text, size_t *length);

/// Trains a model on the sentences of `next`, with arguments as spm_train has them
/// (keys[i] without dashes, values[i]), and the seed by which it samples sentences.
/// Returns the bytes of the model file, owned as above, or NULL.
const void *cosmos_sentencepiece_train(
    const char *const *keys, const char *const *values, size_t argument_count, uint32_t seed,
    cosmos_next_sentence next, void *context, size_t *count);

#ifdef __cplusplus
}
#endif
