// Package convtest is the suite that every implementation runs: cases made at
// random from a seed, buffers with guard bands, and the comparison with the
// oracle. A new operator adds a file here and every implementation is held to it.
package convtest
