// Times single convolutions of ncnn's Vulkan backend, for comparison. To build it, NCNN being where a build of ncnn
// with NCNN_VULKAN is installed (https://github.com/Tencent/ncnn; a copy of glslang comes with it):
//
//     g++ -O2 -o ncnn_peer bench/peers/ncnn/peer.cpp -I$NCNN/include/ncnn -L$NCNN/lib -lncnn -lglslang … -lpthread -ldl
//
// Its argument is a part of the device's name; a second one, "cpu", has it report the time that all its threads spent on
// processors, which is what a software driver computes with while other programs run. First it writes one line about
// itself. Then it reads one case a line,
//
//     seconds n c h w k r s stride pad dilation groups
//
// and answers with one JSON object a line: the median of single calls (record, submit, wait; float32, input and output
// on the device, in ncnn's own layout) with the best of its ways, which are its default, its plain path
// (use_sgemm_convolution=0, use_shader_local_memory=0), and both without Winograd; and the best without Winograd.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/resource.h>

#include "command.h"
#include "gpu.h"
#include "layer.h"
#include "layer_type.h"
#include "modelbin.h"
#include "paramdict.h"
#include "platform.h"

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

static ncnn::Mat filled(ncnn::Mat m) {
  for (size_t i = 0; i < m.total(); i++) ((float*)m.data)[i] = float(rand()) / RAND_MAX - 0.5f;
  return m;
}

struct Case {
  int n, c, h, w, k, r, s, stride, pad, dilation, groups;
};

// median times a case with one set of options; negative where ncnn refuses it.
static double median(ncnn::VulkanDevice* device, const Case& q, ncnn::Option opt, double seconds) {
  ncnn::Layer* layer = ncnn::create_layer_vulkan(q.groups > 1 ? ncnn::LayerType::ConvolutionDepthWise : ncnn::LayerType::Convolution);
  if (!layer) return -1;
  layer->vkdev = device;
  ncnn::ParamDict pd;
  pd.set(0, q.k);
  pd.set(1, q.s);
  pd.set(11, q.r);
  pd.set(2, q.dilation);
  pd.set(3, q.stride);
  pd.set(4, q.pad);
  pd.set(5, 0);
  pd.set(6, q.k * (q.c / q.groups) * q.r * q.s);
  if (q.groups > 1) pd.set(7, q.groups);
  int ho = (q.h + 2 * q.pad - q.dilation * (q.r - 1) - 1) / q.stride + 1;
  int wo = (q.w + 2 * q.pad - q.dilation * (q.s - 1) - 1) / q.stride + 1;
  auto hint = [](int w, int h, int c) { int pack = c % 4 == 0 ? 4 : 1; return ncnn::Mat(w, h, c / pack, (void*)0, 4u * pack, pack); };
  layer->bottom_shapes = {hint(q.w, q.h, q.c)};
  layer->top_shapes = {hint(wo, ho, q.k)};
  ncnn::Mat weight[] = {filled(ncnn::Mat(q.k * (q.c / q.groups) * q.r * q.s))};
  double result = -1;
  std::vector<ncnn::VkMat> x(q.n), y(q.n);
  auto run = [&]() {
    ncnn::VkCompute cmd(device);
    for (int i = 0; i < q.n; i++)
      if (layer->forward(x[i], y[i], cmd, opt) != 0) return false;
    return cmd.submit_and_wait() == 0;
  };
  bool ready = layer->load_param(pd) == 0 && layer->load_model(ncnn::ModelBinFromMatArray(weight)) == 0 && layer->create_pipeline(opt) == 0;
  if (ready) {
    ncnn::VkTransfer transfer(device);
    ready = layer->upload_model(transfer, opt) == 0 && transfer.submit_and_wait() == 0;
  }
  if (ready) {
    ncnn::VkCompute cmd(device);
    for (auto& image : x) { // four channels side by side, as ncnn keeps them between layers
      ncnn::VkMat plain;
      cmd.record_upload(filled(ncnn::Mat(q.w, q.h, q.c)), plain, opt);
      device->convert_packing(plain, image, q.c % 4 == 0 ? 4 : 1, cmd, opt);
    }
    ready = cmd.submit_and_wait() == 0;
  }
  ready = ready && run();
  if (ready) {
    std::vector<double> times;
    double start = clock_ms(), end = start + 1000 * seconds;
    while (times.size() < 3 || clock_ms() < end) {
      double before = now();
      if (!run()) break;
      times.push_back(now() - before);
    }
    std::sort(times.begin(), times.end());
    result = (times[(times.size() - 1) / 2] + times[times.size() / 2]) / 2;
  }
  x.clear();
  y.clear();
  layer->destroy_pipeline(opt);
  delete layer;
  return result;
}

int main(int argc, char** argv) {
  processors = argc > 2 && !strcmp(argv[2], "cpu");
  ncnn::create_gpu_instance();
  int chosen = -1;
  for (int i = 0; i < ncnn::get_gpu_count(); i++)
    if (chosen < 0 && (argc < 2 || strstr(ncnn::get_gpu_info(i).device_name(), argv[1]) || strstr(ncnn::get_gpu_info(i).driver_name(), argv[1]))) chosen = i;
  if (chosen < 0) {
    fprintf(stderr, "ncnn finds no Vulkan device called %s\n", argc < 2 ? "anything" : argv[1]);
    return 1;
  }
  ncnn::VulkanDevice* device = ncnn::get_gpu_device(chosen);
  printf("{\"about\": \"ncnn %s on %s, %s\"}\n", NCNN_VERSION_STRING, device->info.device_name(), device->info.driver_name());
  fflush(stdout);
  ncnn::VkAllocator* blobs = device->acquire_blob_allocator();
  ncnn::VkAllocator* staging = device->acquire_staging_allocator();
  double seconds;
  Case q;
  while (scanf("%lf %d %d %d %d %d %d %d %d %d %d %d", &seconds, &q.n, &q.c, &q.h, &q.w, &q.k, &q.r, &q.s, &q.stride, &q.pad, &q.dilation, &q.groups) == 12) {
    double best = -1, plain = -1;
    std::string way;
    for (int bits = 0; bits < 4; bits++) {
      bool unrolled = bits & 1, winograd = !(bits & 2);
      if (!winograd && !(q.r == 3 && q.s == 3 && q.stride == 1 && q.dilation == 1 && q.groups == 1)) continue;
      ncnn::Option opt;
      opt.num_threads = 1;
      opt.use_vulkan_compute = true;
      opt.use_fp16_packed = opt.use_fp16_storage = opt.use_fp16_arithmetic = opt.use_fp16_uniform = false;
      opt.use_bf16_storage = opt.use_bf16_packed = opt.use_int8_inference = false;
      opt.use_winograd_convolution = winograd;
      if (unrolled) opt.use_sgemm_convolution = opt.use_shader_local_memory = false;
      opt.blob_vkallocator = opt.workspace_vkallocator = blobs;
      opt.staging_vkallocator = staging;
      double ms = median(device, q, opt, seconds);
      if (ms < 0) continue;
      bool algorithm = winograd && q.r == 3 && q.s == 3 && q.stride == 1 && q.dilation == 1 && q.groups == 1;
      if (best < 0 || ms < best) {
        best = ms;
        way = std::string(unrolled ? "plain" : "default") + (algorithm ? ", Winograd" : "");
      }
      if (!algorithm && (plain < 0 || ms < plain)) plain = ms;
    }
    if (best < 0) printf("{\"error\": \"ncnn refuses the layer\"}\n");
    else printf("{\"median_ms\": %.4f, \"direct_ms\": %.4f, \"way\": \"%s\"}\n", best, plain, way.c_str());
    fflush(stdout);
  }
  return 0;
}
