DROP TABLE refused_issuers;
