"""Fields of Istio's MeshConfig and ProxyConfig that this mesh knows and does not act on yet: named in a warning, never ignored."""

from __future__ import annotations

MESH_FIELDS = frozenset(
    {
        *("accessLogEncoding", "accessLogFile", "accessLogFormat", "ca", "caCertificates", "configSources"),
        *("defaultDestinationRuleExportTo", "defaultHttpRetryPolicy", "defaultInboundHttpRetryPolicy", "defaultProviders"),
        *("defaultServiceExportTo", "defaultTrafficPolicy", "defaultVirtualServiceExportTo", "disableEnvoyListenerLog"),
        *("discoverySelectors", "dnsRefreshRate", "enableEnvoyAccessLogService", "enablePrometheusMerge", "enableTracing"),
        *("h2UpgradePolicy", "hboneIdleTimeout", "inboundClusterStatName", "inboundTrafficPolicy"),
        *("ingressClass", "ingressControllerMode", "ingressSelector", "ingressService", "localityLbSetting"),
        *("outboundClusterStatName", "proxyHttpPort", "proxyInboundListenPort", "proxyListenPort", "serviceEntryVisibility"),
        *("serviceScopeConfigs", "serviceSettings", "tcpKeepalive", "tlsDefaults", "verifyCertificateAtClient"),
        *("zoneAwareLbSetting",),
    }
)

PROXY_FIELDS = frozenset(
    {
        *("availabilityZone", "binaryPath", "caCertificatesPem", "concurrency", "configPath", "connectionSettings"),
        *("controlPlaneAuthPolicy", "customConfigFile", "discoveryAddress", "drainDuration", "envoyAccessLogService"),
        *("envoyMetricsService", "extraStatTags", "fileFlushInterval", "fileFlushMinSizeKb"),
        *("holdApplicationUntilProxyStarts", "image", "interceptionMode", "meshId", "parentShutdownDuration", "privateKeyProvider"),
        *("proxyAdminPort", "proxyBootstrapTemplatePath", "proxyHeaders", "proxyMetadata", "proxyStatsMatcher", "readinessProbe"),
        *("runtimeValues", "sds", "serviceCluster", "statNameLength", "statsCompression", "statsdUdpAddress", "statusPort"),
        *("terminationDrainDuration", "tracing", "tracingServiceName", "zipkinAddress"),
    }
)
