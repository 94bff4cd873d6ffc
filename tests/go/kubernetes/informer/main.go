// Watches the config maps of a cluster with an informer of client-go, and prints what it does, one line each:
// "list", "watch", "add NAMESPACE/NAME", "delete NAMESPACE/NAME".
package main

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		panic(err)
	}
	maps := kubernetes.NewForConfigOrDie(config).CoreV1().ConfigMaps("")
	source := &cache.ListWatch{
		ListFunc: func(options metav1.ListOptions) (runtime.Object, error) {
			list, err := maps.List(context.Background(), options)
			if err == nil {
				fmt.Println("list")
			}
			return list, err
		},
		WatchFunc: func(options metav1.ListOptions) (watch.Interface, error) {
			watch, err := maps.Watch(context.Background(), options)
			if err == nil {
				fmt.Println("watch")
			}
			return watch, err
		},
	}
	print := func(what string) func(any) {
		return func(object any) {
			// Of an object that was deleted while nothing was watched, only the key is known.
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
				fmt.Println(what, key)
			}
		}
	}
	informer := cache.NewSharedInformer(source, &corev1.ConfigMap{}, 0)
	informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: print("add"), DeleteFunc: print("delete")})
	informer.Run(make(chan struct{}))
}
