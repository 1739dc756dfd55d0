#include "CSentencePiece.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <exception>
#include <string>
#include <unordered_map>
#include <vector>

using namespace sentencepiece;

namespace sentencepiece::logging {
// Exported by the library, though its headers do not declare it.
void SetMinLogLevel(int level);
}  // namespace sentencepiece::logging

namespace {

// What the last call of a thread returned; memory is kept for its next call.
thread_local std::string lastError;
thread_local std::vector<int> lastIDs;
thread_local std::string lastText;

// The library reports what it does and what fails on stderr. A failure also comes back as a status,
// which the caller prints in its own words; only what makes the library end the process stays.
void silenceLog() {
    static const bool once = [] {
        logging::SetMinLogLevel(3);
        return true;
    }();
    (void)once;
}

bool succeeded(const util::Status &status) {
    if (status.ok()) return true;
    // "Internal: file.cc(12) [condition] explanation"
    lastError = status.ToString();
    return false;
}

// Runs `body`; whatever it throws becomes the thread's error and `failure` the result.
template <typename Result, typename Body>
Result guarded(Result failure, Body body) noexcept {
    try {
        silenceLog();
        return body();
    } catch (const std::exception &error) {
        lastError = error.what();
    } catch (...) {
        lastError = "unknown C++ exception";
    }
    return failure;
}

class CallbackSentences final : public SentenceIterator {
public:
    CallbackSentences(cosmos_next_sentence next, void *context) : next_(next), context_(context) { Next(); }

    bool done() const override { return state_ <= 0; }
    const std::string &value() const override { return sentence_; }
    util::Status status() const override {
        return state_ < 0 ? util::Status(util::StatusCode::kDataLoss, "the sentences could not be read")
                          : util::Status();
    }
    void Next() override {
        const char *text = nullptr;
        size_t length = 0;
        state_ = next_(context_, &text, &length);
        if (state_ > 0) sentence_.assign(text, length);
    }

private:
    cosmos_next_sentence next_;
    void *context_;
    std::string sentence_;
    int state_ = 0;
};

}  // namespace

struct cosmos_sentencepiece {
    SentencePieceProcessor processor;
};

const char *cosmos_sentencepiece_error(void) { return lastError.c_str(); }

cosmos_sentencepiece *cosmos_sentencepiece_load(const void *bytes, size_t count) {
    return guarded<cosmos_sentencepiece *>(nullptr, [&]() -> cosmos_sentencepiece * {
        auto model = std::make_unique<cosmos_sentencepiece>();
        const absl::string_view view(static_cast<const char *>(bytes), count);
        if (!succeeded(model->processor.LoadFromSerializedProto(view))) return nullptr;
        return model.release();
    });
}

void cosmos_sentencepiece_free(cosmos_sentencepiece *model) { delete model; }

int32_t cosmos_sentencepiece_size(const cosmos_sentencepiece *model) { return model->processor.GetPieceSize(); }
int32_t cosmos_sentencepiece_unknown_id(const cosmos_sentencepiece *model) { return model->processor.unk_id(); }
int32_t cosmos_sentencepiece_begin_id(const cosmos_sentencepiece *model) { return model->processor.bos_id(); }
int32_t cosmos_sentencepiece_end_id(const cosmos_sentencepiece *model) { return model->processor.eos_id(); }
int32_t cosmos_sentencepiece_pad_id(const cosmos_sentencepiece *model) { return model->processor.pad_id(); }

const char *cosmos_sentencepiece_piece(const cosmos_sentencepiece *model, int32_t id, size_t *length) {
    const std::string &piece = model->processor.IdToPiece(id);
    *length = piece.size();
    return piece.data();
}

int32_t cosmos_sentencepiece_id(const cosmos_sentencepiece *model, const char *piece, size_t length) {
    return model->processor.PieceToId(absl::string_view(piece, length));
}

const int32_t *cosmos_sentencepiece_encode(
    const cosmos_sentencepiece *model, const char *text, size_t length, size_t *count) {
    return guarded<const int32_t *>(nullptr, [&]() -> const int32_t * {
        if (!succeeded(model->processor.Encode(absl::string_view(text, length), &lastIDs))) return nullptr;
        *count = lastIDs.size();
        lastIDs.reserve(1);  // an empty result is not a failure: never NULL
        return lastIDs.data();
    });
}

const char *cosmos_sentencepiece_decode(
    const cosmos_sentencepiece *model, const int32_t *ids, size_t count, size_t *length) {
    return guarded<const char *>(nullptr, [&]() -> const char * {
        lastIDs.assign(ids, ids + count);
        if (!succeeded(model->processor.Decode(lastIDs, &lastText))) return nullptr;
        *length = lastText.size();
        return lastText.data();
    });
}

const void *cosmos_sentencepiece_train(
    const char *const *keys, const char *const *values, size_t argument_count, uint32_t seed,
    cosmos_next_sentence next, void *context, size_t *count) {
    return guarded<const void *>(nullptr, [&]() -> const void * {
        std::unordered_map<std::string, std::string> arguments;
        for (size_t i = 0; i < argument_count; i++) arguments[keys[i]] = values[i];
        SetRandomGeneratorSeed(seed);
        CallbackSentences sentences(next, context);
        lastText.clear();
        if (!succeeded(SentencePieceTrainer::Train(arguments, &sentences, &lastText))) return nullptr;
        *count = lastText.size();
        return lastText.data();
    });
}
