// The table of this instruction set's kernels.
#include "kernels/kernels.hpp"

#define CPM_NAME_OF(isa) #isa
#define CPM_NAME(isa) CPM_NAME_OF(isa)
#define CPM_TABLE_OF(isa) isa##_kernels
#define CPM_TABLE(isa) CPM_TABLE_OF(isa)

namespace cpm {
namespace CPM_ISA {

void linear(Pool&, const float*, int64_t, const Weights&, float*, bool);
void linear_quantised(Pool&, const float*, int64_t, const Weights&, void*, float*, bool);
int64_t quantised_room(int64_t, const Weights&);
void layer_norm(Pool&, const float*, int64_t, int64_t, const float*, const float*, float, float*);
void gelu(Pool&, float*, int64_t, Gelu);
void attention(Pool&, const float*, const CacheView&, const PathsView&, float, float*);
void embedding(Pool&, const int32_t*, const int32_t*, int64_t, const Weights&, const Weights&,
               float*);
float read_all(Pool&, const float*, int64_t);
double multiply_add(Pool&, float*);

}  // namespace CPM_ISA

const Kernels& CPM_TABLE(CPM_ISA)() {
    using namespace CPM_ISA;
    static constexpr Kernels kernels{
        CPM_NAME(CPM_ISA), linear,    linear_quantised, quantised_room, layer_norm, gelu,
        attention,         embedding, read_all,         multiply_add};
    return kernels;
}

}  // namespace cpm
