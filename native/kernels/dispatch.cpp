// The table of the kernels of the instruction set for which this file is compiled.
#include "kernels/kernels.hpp"

#define CPM_STRINGIFY(isa) #isa
#define CPM_NAME(isa) CPM_STRINGIFY(isa)
#define CPM_PASTE(isa) isa##_kernels
#define CPM_TABLE(isa) CPM_PASTE(isa)

namespace cpm {
namespace CPM_ISA {

void linear(Pool&, const float*, int64_t, const Weights&, float*, bool);
void linear_quantized(Pool&, const float*, int64_t, const Weights&, void*, float*, bool);
int64_t quantized_workspace(int64_t, const Weights&);
void layer_norm(Pool&, const float*, int64_t, int64_t, const float*, const float*, float, float*);
void gelu(Pool&, float*, int64_t, Gelu);
void attention(Pool&, const float*, const KVCacheView&, const PathsView&, float, float*);
void embedding(Pool&, const int32_t*, const int32_t*, int64_t, const Weights&, const Weights&,
               float*);
float read_all(Pool&, const float*, int64_t);
double fma_loop(Pool&, float*);

}  // namespace CPM_ISA

const Kernels& CPM_TABLE(CPM_ISA)() {
    using namespace CPM_ISA;
    static constexpr Kernels kernels{
        CPM_NAME(CPM_ISA), linear,  linear_quantized, quantized_workspace,
        layer_norm,        gelu,    attention,        embedding,
        read_all,          fma_loop};
    return kernels;
}

}  // namespace cpm
