#!/usr/bin/env bash
# The image's entry point: `divspa` with the arguments given, or what Spark asks of an image on Kubernetes.
set -euo pipefail

case "${1:-}" in
  driver)
    exec spark-submit --deploy-mode client --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" "${@:2}"
    ;;
  executor)
    # Spark hands over the JVM's options as SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1, …
    readarray -t options < <(env | grep '^SPARK_JAVA_OPT_' | sort -t_ -k4 -n | cut -d= -f2-)
    exec java "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
      -cp "${SPARK_CLASSPATH:-}:$SPARK_HOME/jars/*" org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
  *)
    # Without a network a container may not know its own name, and Spark then does not start.
    getent hosts "$(hostname)" > /dev/null || export SPARK_LOCAL_HOSTNAME=localhost
    exec divspa "$@"
    ;;
esac
