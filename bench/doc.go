// Package bench measures convolutions. Nothing is timed before its result was
// held against the oracle, element by element, and times of different meaning
// are kept apart: the device's own time between two timestamps, and the wall
// time of a submission from the first call to the end of waiting.
//
// A [Case] is a layer, a chain of layers or a layer's backward pass on random data.
// [Bench.Run] verifies and times it on a device and on the CPU path; [Table]
// writes what came out.
//
// [Sets] are layers of published networks, [ParseDescriptor] and [ReadBatch] read
// benchdnn's. A [Report] keeps every repetition, as JSON, CSV or lines for
// benchstat, and [Compare] tests whether two differ.
package bench
