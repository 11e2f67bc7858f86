package main

import "log"

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}
