package vkconv

import "time"

// Share is a device's part in a run of a fleet's layer.
type Share struct {
	Device string
	Images int           // of the last run
	Each   time.Duration // an image takes, by a running mean; 0 where it was not measured
}

// apportion shares n images among devices that take so long for one: each image in
// turn goes to the device that would be through with it first, of equals to the
// earlier. That is in proportion to speed, and as no other division it keeps the
// time short until the last device is through. (Rounding proportions to the nearest
// does not: of 8 images and devices that differ tenfold it gives the slow one 0.73,
// so 1, and that lasts longer than all 8 on the fast one.)
//
// A device that takes for ever gets none, unless all do, who then get equal shares.
func apportion(n int, each []float64) []int {
	counts := make([]int, len(each))
	for range n {
		best := 0
		for i := range each {
			a, b := float64(counts[i]+1)*each[i], float64(counts[best]+1)*each[best]
			if a < b || a == b && counts[i] < counts[best] { // +Inf == +Inf
				best = i
			}
		}
		counts[best]++
	}
	return counts
}

// smooth moves the running mean of what an image takes a quarter of the way to a
// new measurement. One counts at most twice the mean, so that a pause of the machine
// doesn't leave a device without images, and so without a measurement that would set
// it right.
func smooth(mean, now time.Duration) time.Duration {
	if mean == 0 {
		return max(now, 1)
	}
	return max(mean+(min(now, 2*mean)-mean)/4, 1)
}
