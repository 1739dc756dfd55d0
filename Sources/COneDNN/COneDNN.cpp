#include "COneDNN.h"

#include <dlfcn.h>
#include <dnnl.hpp>

#include <string>
#include <unordered_map>

using dnnl::memory;

namespace {

/// Everything that a matmul primitive is made for; two calls with the same key share it.
struct Key {
    int64_t m, n, k, a_stride, b_stride, c_stride;
    bool a_transposed, b_transposed, bf16_output;
    float beta;

    bool operator==(const Key &other) const {
        return m == other.m && n == other.n && k == other.k && a_stride == other.a_stride
            && b_stride == other.b_stride && c_stride == other.c_stride && a_transposed == other.a_transposed
            && b_transposed == other.b_transposed && bf16_output == other.bf16_output
            && beta == other.beta;
    }
};

struct KeyHash {
    size_t operator()(const Key &key) const {
        size_t hash = 0;
        for (int64_t part : {key.m, key.n, key.k, key.a_stride, key.b_stride, key.c_stride,
                 int64_t(key.a_transposed) | key.b_transposed << 1 | key.bf16_output << 2, int64_t(key.beta * 0x1p16)})
            hash = (hash ^ size_t(part)) * 0x9e3779b97f4a7c15u;
        return hash ^ (hash >> 32);
    }
};

/// A primitive with the memory objects of its operands, which get their addresses at each call.
struct Product {
    dnnl::matmul primitive;
    memory a, b, c;
    std::unordered_map<int, memory> arguments;
};

memory::desc matrix(int64_t rows, int64_t columns, memory::data_type type, int64_t stride, bool transposed) {
    return memory::desc({rows, columns}, type, transposed ? memory::dims {1, stride} : memory::dims {stride, 1});
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

    Product &product(const Key &key) {
        auto found = products.find(key);
        if (found != products.end()) return found->second;
        auto output = key.bf16_output ? memory::data_type::bf16 : memory::data_type::f32;
        auto a = matrix(key.m, key.k, memory::data_type::bf16, key.a_stride, key.a_transposed);
        auto b = matrix(key.k, key.n, memory::data_type::bf16, key.b_stride, key.b_transposed);
        auto c = matrix(key.m, key.n, output, key.c_stride, false);
        dnnl::primitive_attr attributes;
        if (key.beta != 0) {
            dnnl::post_ops sum;
            sum.append_sum(key.beta);
            attributes.set_post_ops(sum);
        }
#if DNNL_VERSION_MAJOR >= 3
        dnnl::matmul::primitive_desc description(engine, a, b, c, attributes);
#else
        dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, engine);
#endif
        Product product {dnnl::matmul(description), memory(a, engine, nullptr), memory(b, engine, nullptr),
            memory(c, engine, nullptr), {}};
        product.arguments = {
            {DNNL_ARG_SRC, product.a}, {DNNL_ARG_WEIGHTS, product.b}, {DNNL_ARG_DST, product.c}};
        return products.emplace(key, std::move(product)).first->second;
    }
};

}  // namespace

const char *cosmos_dnnl_multiply(
    int64_t m, int64_t n, int64_t k, cosmos_dnnl_operand a, cosmos_dnnl_operand b, void *c, int64_t stride,
    bool bf16_output, float beta) {
    static thread_local Thread thread;
    try {
        Product &product = thread.product(
            {m, n, k, a.stride, b.stride, stride, a.transposed, b.transposed, bf16_output, beta});
        product.a.set_data_handle(const_cast<uint16_t *>(a.data));
        product.b.set_data_handle(const_cast<uint16_t *>(b.data));
        product.c.set_data_handle(c);
        product.primitive.execute(thread.stream, product.arguments);
        thread.stream.wait();
        return nullptr;
    } catch (const std::exception &error) {
        thread.error = error.what();
        return thread.error.c_str();
    }
}

const char *cosmos_dnnl_version(void) {
    static const std::string version = [] {
        const dnnl_version_t *v = dnnl_version();
        return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
    }();
    return version.c_str();
}
