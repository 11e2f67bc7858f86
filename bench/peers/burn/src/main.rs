//! Times single layers of burn on wgpu, for comparison: record, submit and wait, float32, everything on the device. To
//! build it: `cargo build --release`, or with `--features vulkan` to have shaders go through SPIR-V instead of WGSL.
//!
//! Its argument is a part of the device's name, which has to be that of the one device that the Vulkan loader shows
//! (VK_DRIVER_FILES); "cpu" has it report the time that all its threads spent on processors; "backward" has it time all
//! gradients, with the forward pass done before. First it writes one line about itself. Then it reads one JSON object a
//! line, a layer of vulkan.json with Seconds added, and answers with one: the median of single calls in milliseconds.

use burn::backend::{Autodiff, Wgpu, wgpu};
use burn::prelude::Backend;
use burn::tensor::ops::{ConvOptions, DeformConvOptions};
use burn::tensor::{Distribution, Tensor, module};
use serde::Deserialize;
use std::io::{BufRead, Write};
use std::time::Instant;

type B = Wgpu;
type A = Autodiff<Wgpu>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layer {
    seconds: f64,
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    k: usize,
    r: usize,
    s: usize,
    stride: usize,
    pad: usize,
    dilation: usize,
    groups: usize,
    #[serde(rename = "OG")]
    og: usize,
    mask: bool,
}

/// Milliseconds on the clock since `start`, or of processors since the program began.
fn now(start: Instant, processors: bool) -> f64 {
    if !processors {
        return start.elapsed().as_secs_f64() * 1e3;
    }
    let u = unsafe {
        let mut u: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut u);
        u
    };
    let ms = |t: libc::timeval| t.tv_sec as f64 * 1e3 + t.tv_usec as f64 / 1e3;
    ms(u.ru_utime) + ms(u.ru_stime)
}

/// Runs `before` and times `call` on what it made, until the seconds are over; the median in milliseconds.
fn median<T>(seconds: f64, processors: bool, device: &wgpu::WgpuDevice, mut before: impl FnMut() -> T, mut call: impl FnMut(T)) -> f64 {
    let start = Instant::now();
    let mut times = vec![];
    let mut warm = 2; // compiles, and tries what autotune tries
    while times.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        let made = before();
        B::sync(device).unwrap();
        let began = now(start, processors);
        call(made);
        B::sync(device).unwrap();
        if warm > 0 {
            warm -= 1;
        } else {
            times.push(now(start, processors) - began);
        }
    }
    times.sort_by(f64::total_cmp);
    (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0
}

fn forward<G: Backend>(l: &Layer, t: &[Tensor<G, 4>]) -> Tensor<G, 4> {
    let (stride, pad, dilation) = ([l.stride; 2], [l.pad; 2], [l.dilation; 2]);
    if l.og == 0 {
        return module::conv2d(t[0].clone(), t[1].clone(), None, ConvOptions::new(stride, pad, dilation, l.groups));
    }
    let options = DeformConvOptions::new(stride, pad, dilation, l.groups, l.og);
    module::deform_conv2d(t[0].clone(), t[2].clone(), t[1].clone(), t.get(3).cloned(), None, options)
}

/// Input and weight, then offsets and mask where there are any.
fn tensors<G: Backend>(l: &Layer, device: &G::Device) -> Vec<Tensor<G, 4>> {
    let out = |size: usize, taps: usize| (size + 2 * l.pad - l.dilation * (taps - 1) - 1) / l.stride + 1;
    let (ho, wo) = (out(l.h, l.r), out(l.w, l.s));
    let mut shapes = vec![[l.n, l.c, l.h, l.w], [l.k, l.c / l.groups, l.r, l.s]];
    if l.og > 0 {
        shapes.push([l.n, 2 * l.og * l.r * l.s, ho, wo]);
        if l.mask {
            shapes.push([l.n, l.og * l.r * l.s, ho, wo]);
        }
    }
    shapes.into_iter().map(|s| Tensor::random(s, Distribution::Normal(0.0, 1.0), device)).collect()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let device = wgpu::WgpuDevice::default();
    let setup = wgpu::init_setup::<wgpu::graphics::Vulkan>(&device, Default::default());
    let info = setup.adapter.get_info();
    if args.first().is_some_and(|name| !info.name.contains(name.as_str())) {
        eprintln!("burn takes {}, not {}: name one driver in VK_DRIVER_FILES", info.name, args[0]);
        std::process::exit(1);
    }
    let (processors, backward) = (args.iter().any(|a| a == "cpu"), args.iter().any(|a| a == "backward"));
    let shaders = if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" };
    println!("{}", serde_json::json!({"about": format!("burn 0.20.1 ({shaders}) on {}", info.name)}));
    for line in std::io::stdin().lock().lines() {
        let l: Layer = serde_json::from_str(&line.unwrap()).unwrap();
        let tried = std::panic::catch_unwind(|| {
            if backward {
                let t: Vec<_> = tensors::<A>(&l, &device).into_iter().map(|t| t.require_grad()).collect();
                median(l.seconds, processors, &device, || forward(&l, &t), |y| drop(y.backward()))
            } else {
                let t = tensors::<B>(&l, &device);
                median(l.seconds, processors, &device, || (), |()| drop(forward(&l, &t)))
            }
        });
        match tried {
            Ok(ms) => println!("{}", serde_json::json!({"median_ms": ms})),
            Err(_) => println!("{}", serde_json::json!({"error": "burn gives up"})),
        }
        std::io::stdout().flush().unwrap();
    }
}
