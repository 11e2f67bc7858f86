// The samples of TN outputs of one invocation.

int image[TN], pixel[TN];   // which output: image and place in it
int firstY[TN], firstX[TN]; // input position of its tap (0, 0) before the offset
int neighbor[TN * 4];       // elements of x, of any valid element where outside
bool inside[TN * 4];
float corner[TN * 4];       // bilinear weights
float modulation[TN];       // mask

// locate finds outputs item, item + LocalSize, ... of the flattened images.
void locate(int item) {
  int pixels = p.ho * p.wo;
  UNROLL for (int t = 0; t < TN; t++) {
    int i = min(item + t * int(gl_WorkGroupSize.x), p.items - 1);
    image[t] = i / pixels;
    pixel[t] = i - image[t] * pixels;
    int oy = pixel[t] / p.wo;
    firstY[t] = oy * p.strideY - p.top;
    firstX[t] = (pixel[t] - oy * p.wo) * p.strideX - p.left;
  }
}

// placeAll works out where tap (r, s) of offset group q samples channel c.
void placeAll(int q, int r, int s, int c) {
  int pixels = p.ho * p.wo, taps = p.r * p.s;
  UNROLL for (int t = 0; t < TN; t++) {
    int o = (image[t] * p.offsetGroups + q) * taps + r * p.s + s;
    int first = o * 2 * pixels + pixel[t];
    Place here = place(firstY[t] + r * p.dilationY, firstX[t] + s * p.dilationX, offset[first], offset[first + pixels]);
    // Without a mask any element is loaded and not looked at.
    float m = mask[mix(0, o * pixels + pixel[t], p.masked != 0)];
    modulation[t] = mix(1.0, m, p.masked != 0);
    int base = p.firstX + (image[t] * p.c + c) * p.h * p.w;
    UNROLL for (int i = 0; i < 4; i++) {
      inside[t * 4 + i] = here.at[i] >= 0;
      neighbor[t * 4 + i] = base + max(here.at[i], 0);
      corner[t * 4 + i] = here.weight[i];
    }
  }
}

// gather is the sample of output t, at elements further on.
float gather(int t, int further) {
  float sum = 0.0;
  UNROLL for (int i = 0; i < 4; i++) {
    float v = x[neighbor[t * 4 + i] + further];
    // Selected, not multiplied by 0: the element may be an infinity.
    sum += mix(0.0, v, inside[t * 4 + i]) * corner[t * 4 + i];
  }
  return sum * modulation[t];
}
