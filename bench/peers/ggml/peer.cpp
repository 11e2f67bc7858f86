// Times single convolutions of ggml's Vulkan backend, for comparison. To build it, GGML being a checkout
// (https://github.com/ggml-org/ggml) built in GGML/build with -DGGML_VULKAN=ON -DBUILD_SHARED_LIBS=OFF:
//
//     g++ -O2 -o ggml_peer bench/peers/ggml/peer.cpp -I$GGML/include $(find $GGML/build/src -name '*.a') … -lvulkan -lpthread
//
// Before that, replace getFenceStatus in its ggml_vk_wait_for_fence by waitForFences: as it comes, it polls its fence, which
// takes a core away from a driver that computes on the processor.
//
// Arguments, input and answers are those of ../ncnn/peer.cpp. Its ways are the layouts that its operators take: width or
// channels side by side.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/resource.h>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-vulkan.h"
#include "ggml.h"

// milliseconds on the clock, or of processors
static double clock_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static bool processors = false;

static double now() {
  if (!processors) return clock_ms();
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return 1e3 * (u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-3 * (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct Case {
  int n, c, h, w, k, r, s, stride, pad, dilation, groups;
};

static void fill(ggml_tensor* t) {
  std::vector<float> v(ggml_nelements(t));
  for (float& e : v) e = float(rand()) / RAND_MAX - 0.5f;
  ggml_backend_tensor_set(t, v.data(), 0, ggml_nbytes(t));
}

// median times a case in one layout; negative where ggml refuses it.
static double median(ggml_backend_t backend, const Case& q, bool channels_last, double seconds) {
  bool depthwise = q.groups > 1;
  ggml_context* ctx = ggml_init({ggml_tensor_overhead() * 16 + ggml_graph_overhead(), nullptr, true});
  ggml_tensor *x, *weight, *input, *kernel;
  if (channels_last) {
    input = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, q.c, q.w, q.h, q.n);
    x = ggml_permute(ctx, input, 2, 0, 1, 3);
    if (depthwise) {
      kernel = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, q.k, q.s, q.r, 1);
      weight = ggml_permute(ctx, kernel, 3, 0, 1, 2);
    } else {
      kernel = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, q.k, q.c, q.s, q.r);
      weight = ggml_permute(ctx, kernel, 3, 2, 0, 1);
    }
  } else {
    x = input = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, q.w, q.h, q.c, q.n);
    weight = kernel = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, q.s, q.r, depthwise ? 1 : q.c, q.k);
  }
  ggml_tensor* y = depthwise ? ggml_conv_2d_dw_direct(ctx, weight, x, q.stride, q.stride, q.pad, q.pad, q.dilation, q.dilation)
                             : ggml_conv_2d_direct(ctx, weight, x, q.stride, q.stride, q.pad, q.pad, q.dilation, q.dilation);
  ggml_cgraph* graph = ggml_new_graph(ctx);
  ggml_build_forward_expand(graph, y);
  double result = -1;
  ggml_backend_buffer_t memory = nullptr;
  if (ggml_backend_supports_op(backend, y)) memory = ggml_backend_alloc_ctx_tensors(ctx, backend);
  if (memory) {
    fill(input);
    fill(kernel);
    auto run = [&]() { return ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS; };
    if (run() && run()) {
      std::vector<double> times;
      double end = clock_ms() + 1000 * seconds;
      while (times.size() < 3 || clock_ms() < end) {
        double before = now();
        if (!run()) break;
        times.push_back(now() - before);
      }
      if (!times.empty()) {
        std::sort(times.begin(), times.end());
        result = (times[(times.size() - 1) / 2] + times[times.size() / 2]) / 2;
      }
    }
    ggml_backend_buffer_free(memory);
  }
  ggml_free(ctx);
  return result;
}

int main(int argc, char** argv) {
  processors = argc > 2 && !strcmp(argv[2], "cpu");
  int chosen = -1;
  char name[256] = "";
  for (int i = 0; i < ggml_backend_vk_get_device_count(); i++) {
    char s[256];
    ggml_backend_vk_get_device_description(i, s, sizeof s);
    if (chosen < 0 && (argc < 2 || strstr(s, argv[1]))) {
      chosen = i;
      memcpy(name, s, sizeof s);
    }
  }
  if (chosen < 0) {
    fprintf(stderr, "ggml finds no Vulkan device called %s\n", argc < 2 ? "anything" : argv[1]);
    return 1;
  }
  ggml_backend_t backend = ggml_backend_vk_init(chosen);
  printf("{\"about\": \"ggml %s on %s\"}\n", ggml_commit(), name);
  fflush(stdout);
  double seconds;
  Case q;
  while (scanf("%lf %d %d %d %d %d %d %d %d %d %d %d", &seconds, &q.n, &q.c, &q.h, &q.w, &q.k, &q.r, &q.s, &q.stride, &q.pad, &q.dilation, &q.groups) == 12) {
    double best = -1;
    const char* way = "";
    for (int last = 0; last < 2 && (q.groups == 1 || q.groups == q.c && q.c == q.k); last++) {
      double ms = median(backend, q, last, seconds);
      if (ms >= 0 && (best < 0 || ms < best)) {
        best = ms;
        way = last ? "channels last" : "NCHW";
      }
    }
    if (best < 0) printf("{\"error\": \"ggml has no such layer\"}\n");
    else printf("{\"median_ms\": %.4f, \"direct_ms\": %.4f, \"way\": \"%s\"}\n", best, best, way);
    fflush(stdout);
  }
  ggml_backend_free(backend);
  return 0;
}
