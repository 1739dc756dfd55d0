#include "COneDNN.h"

#include <dlfcn.h>
#include <dnnl.hpp>

#include <string>
#include <unordered_map>

using dnnl::memory;

namespace {

/// Everything that a matmul primitive is made for; two calls with the same key share it.
struct Key {
    cosmos_dnnl_type type;
    int64_t m, n, k, a_stride, b_stride, c_stride;
    cosmos_dnnl_layout a_layout, b_layout;
    bool bf16_output;
    float beta;

    bool operator==(const Key &other) const = default;
};

struct KeyHash {
    size_t operator()(const Key &key) const {
        size_t hash = 0;
        for (int64_t part : {key.m, key.n, key.k, key.a_stride, key.b_stride, key.c_stride,
                 int64_t(key.a_layout) | key.b_layout << 2 | key.bf16_output << 4 | key.type << 5, int64_t(key.beta * 0x1p16)})
            hash = (hash ^ size_t(part)) * 0x9e3779b97f4a7c15u;
        return hash ^ (hash >> 32);
    }
};

/// A primitive with its operands, which get their addresses at each call.
struct Product {
    dnnl::matmul primitive;
    std::unordered_map<int, memory> operands;
};

memory::desc matrix(int64_t rows, int64_t columns, memory::data_type type, int64_t stride, bool transposed) {
    return memory::desc({rows, columns}, type, transposed ? memory::dims {1, stride} : memory::dims {stride, 1});
}

memory::data_type data_type(cosmos_dnnl_type type) {
    return type == COSMOS_DNNL_F32 ? memory::data_type::f32 : memory::data_type::bf16;
}

/// The layout of packed operands.
memory::desc panels(cosmos_dnnl_type type, int64_t k, int64_t n) {
    auto tag = type == COSMOS_DNNL_F32 ? memory::format_tag::BA16a64b : memory::format_tag::BA16a64b2a;
    return memory::desc({k, n}, data_type(type), tag);
}

dnnl::matmul::primitive_desc matmul(const dnnl::engine &engine, const memory::desc &a, const memory::desc &b,
    const memory::desc &c, const dnnl::primitive_attr &attributes) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl::matmul::primitive_desc(engine, a, b, c, attributes);
#else
    return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes, engine);
#endif
}

/// What one thread needs: oneDNN objects are not shared, so no call waits for another.
struct Thread {
    dnnl::engine engine {dnnl::engine::kind::cpu, 0};
    dnnl::stream stream {engine};
    std::unordered_map<Key, Product, KeyHash> products;
    std::string error;

    Thread() {
        // oneDNN's OpenMP would start threads of its own under each of ours. The setting belongs to
        // the calling thread; the symbol is there when oneDNN is built with OpenMP.
        using set_threads = void (*)(int);
        if (auto set = reinterpret_cast<set_threads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"))) set(1);
    }

    /// Whether panels are what oneDNN itself chooses for float32 on this CPU.
    bool likes_panels() {
        constexpr int64_t order = 256;
        auto type = memory::data_type::f32;
        memory::desc any({order, order}, type, memory::format_tag::any);
        auto plain = matrix(order, order, type, order, false);
        return matmul(engine, plain, any, plain, {}).weights_desc() == panels(COSMOS_DNNL_F32, order, order);
    }

    Product &product(const Key &key) {
        auto found = products.find(key);
        if (found != products.end()) return found->second;
        auto output = key.bf16_output ? memory::data_type::bf16 : memory::data_type::f32;
        auto type = data_type(key.type);
        auto a = matrix(key.m, key.k, type, key.a_stride, key.a_layout == COSMOS_DNNL_TRANSPOSED);
        auto b = key.b_layout == COSMOS_DNNL_PACKED
            ? panels(key.type, key.k, key.n)
            : matrix(key.k, key.n, type, key.b_stride, key.b_layout == COSMOS_DNNL_TRANSPOSED);
        auto c = matrix(key.m, key.n, output, key.c_stride, false);
        dnnl::primitive_attr attributes;
        if (key.beta != 0) {
            dnnl::post_ops sum;
            sum.append_sum(key.beta);
            attributes.set_post_ops(sum);
        }
        // A model has some dozens of shapes; what has more must not fill the memory.
        if (products.size() >= 512) products.clear();
        Product product {dnnl::matmul(matmul(engine, a, b, c, attributes)),
            {{DNNL_ARG_SRC, memory(a, engine, nullptr)}, {DNNL_ARG_WEIGHTS, memory(b, engine, nullptr)},
                {DNNL_ARG_DST, memory(c, engine, nullptr)}}};
        return products.emplace(key, std::move(product)).first->second;
    }
};

Thread &thread() {
    static thread_local Thread thread;
    return thread;
}

/// Runs `body`; what oneDNN had to say where it failed, else NULL.
template <typename Body>
const char *reported(Thread &thread, Body body) {
    try {
        body();
        return nullptr;
    } catch (const std::exception &error) {
        thread.error = error.what();
        return thread.error.c_str();
    }
}

}  // namespace

int64_t cosmos_dnnl_packed_bytes(cosmos_dnnl_type type, int64_t k, int64_t n) {
    static const bool is_float_packed = thread().likes_panels();
    return type == COSMOS_DNNL_BF16 || is_float_packed ? int64_t(panels(type, k, n).get_size()) : 0;
}

const char *cosmos_dnnl_pack(
    cosmos_dnnl_type type, int64_t k, int64_t n, const float *values, int64_t stride, bool transposed, void *packed) {
    Thread &thread = ::thread();
    return reported(thread, [&] {
        memory source(matrix(k, n, memory::data_type::f32, stride, transposed), thread.engine,
            const_cast<float *>(values));
        memory target(panels(type, k, n), thread.engine, packed);
        dnnl::reorder(source, target).execute(thread.stream, source, target);
        thread.stream.wait();
    });
}

const char *cosmos_dnnl_multiply(
    cosmos_dnnl_type type, int64_t m, int64_t n, int64_t k, cosmos_dnnl_operand a, cosmos_dnnl_operand b, void *c,
    int64_t stride, bool bf16_output, float beta) {
    Thread &thread = ::thread();
    return reported(thread, [&] {
        Product &product = thread.product(
            {type, m, n, k, a.stride, b.stride, stride, a.layout, b.layout, bf16_output, beta});
        product.operands.at(DNNL_ARG_SRC).set_data_handle(const_cast<void *>(a.data));
        product.operands.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<void *>(b.data));
        product.operands.at(DNNL_ARG_DST).set_data_handle(c);
        product.primitive.execute(thread.stream, product.operands);
        thread.stream.wait();
    });
}

int64_t cosmos_dnnl_shape_count(void) { return int64_t(thread().products.size()); }

bool cosmos_dnnl_has_bf16(void) {
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

const char *cosmos_dnnl_version(void) {
    static const std::string version = [] {
        const dnnl_version_t *v = dnnl_version();
        return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
    }();
    return version.c_str();
}
