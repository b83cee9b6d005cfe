// How a kernel walks a map or a pooled result in either memory format. No function here: units of every instruction set
// include this.
#pragma once

#include <cstdint>

namespace dcn::cpu {

// Elements from one image (RoI), channel or place (pixel; bin) to the next.
struct Strides {
  int64_t image, channel, place;
};

}  // namespace dcn::cpu
