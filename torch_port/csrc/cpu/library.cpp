// Placeholder until the first operator lands; every operator adds its schema by STABLE_TORCH_LIBRARY_FRAGMENT.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) { m.def("abi() -> int"); }
